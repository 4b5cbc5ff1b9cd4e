// mixers/README.md tables what the mixers declare of themselves: name, quirks, and their texts.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "kernels/base/io/atomic_file.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

using Row = std::vector<std::string>;

/// The cells of every table row of mixers/README.md.
std::vector<Row> readme_rows() {
  std::istringstream lines(
      read_file(std::string(RECALLBENCH_SOURCE_DIR) + "/mixers/README.md", 1 << 20));
  std::vector<Row> rows;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| ")) continue;
    Row row;
    for (std::size_t begin = 1; begin < line.size();) {
      const std::size_t end = line.find('|', begin);
      std::string cell = line.substr(begin, end - begin);
      cell.erase(0, cell.find_first_not_of(' '));
      cell.erase(cell.find_last_not_of(' ') + 1);
      row.push_back(cell);
      begin = end == std::string::npos ? line.size() : end + 1;
    }
    rows.push_back(row);
  }
  return rows;
}

/// "T1 T2 Q5": the numbers of a mixer's deviations.
std::vector<std::string> numbers_of(const MixerEntry& entry) {
  std::vector<std::string> numbers;
  for (const Deviation& deviation : entry.deviations)
    if (!deviation.number.empty()) numbers.emplace_back(deviation.number);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

/// Words of a cell that are numbers of quirks.
void add_numbers(const std::string& cell, std::vector<std::string>& numbers) {
  std::istringstream words(cell);
  for (std::string word; words >> word;) {
    if (word.ends_with(';')) word.pop_back();
    if (word.size() >= 2 && (word[0] == 'Q' || word[0] == 'T') &&
        std::isdigit(static_cast<unsigned char>(word[1])) != 0)
      numbers.push_back(word);
  }
}

/// A mixer's rows in the table of mixers. A long form may have a row of its own, without a link:
/// "base_conv, long filter".
std::vector<Row> rows_of(const std::string& mixer, const std::vector<Row>& rows) {
  std::vector<Row> found;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(found), [&](const Row& row) {
    return row[0].starts_with(fmt::format("[{0}]({0}/README.md)", mixer)) ||
           row[0].starts_with(mixer + ", ");
  });
  return found;
}

// A mixer that was just added has no row yet, which is no error; it is held to the row it has.
TEST(Deviations, TheTableOfMixersHasTheirQuirks) {
  const std::vector<Row> rows = readme_rows();
  int tabled = 0;
  for (const std::string& name : mixer_registry().names()) {
    const std::vector<Row> own = rows_of(name, rows);
    if (own.empty()) continue;
    ++tabled;
    std::vector<std::string> numbers;
    for (const Row& row : own)
      add_numbers(row.back(), numbers);
    std::sort(numbers.begin(), numbers.end());
    EXPECT_EQ(numbers, numbers_of(mixer_registry().find(name))) << name;
  }
  EXPECT_GE(tabled, 21);
}

TEST(Deviations, TheTableOfQuirksHasTheirTexts) {
  const std::vector<Row> rows = readme_rows();
  int tabled = 0;
  for (const std::string& name : mixer_registry().names()) {
    if (rows_of(name, rows).empty()) continue;
    for (const Deviation& deviation : mixer_registry().find(name).deviations) {
      ++tabled;
      EXPECT_EQ(std::count_if(rows.begin(), rows.end(),
                              [&](const Row& row) {
                                return row.size() == 4 && row[0] == deviation.number &&
                                       row[1] == deviation.reference && row[2] == deviation.sound;
                              }),
                1)
          << name << " declares, and the table does not have: | " << deviation.number << " | "
          << deviation.reference << " | " << deviation.sound << " |";
    }
  }
  EXPECT_GE(tabled, 30);
}

}  // namespace
}  // namespace recallbench
