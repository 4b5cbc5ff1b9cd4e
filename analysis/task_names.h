#pragma once

#include <string>
#include <vector>

namespace recallbench {

/// A short name for each of the tasks that stand side by side, given the texts in column `task` of
/// summary.csv: the kinds of its test data, and in which options it differs from the others ("mqar,
/// vocab_size 512"): those of the test data first, vocabulary, length and pairs before others;
/// those of the training and validation data where these leave two alike. No two names are equal:
/// tasks that differ in what a name does not tell are numbered. One line of at most 60 columns.
std::vector<std::string> task_names(const std::vector<std::string>& tasks);

/// `names` as parts of file names, no two of them equal even where case does not count: letters,
/// digits, '-' and '_' alone.
std::vector<std::string> file_parts(const std::vector<std::string>& names);

}  // namespace recallbench
