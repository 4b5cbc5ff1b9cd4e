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

TEST(Deviations, TheTableOfMixersNamesEveryMixerAndItsQuirks) {
  const std::vector<Row> rows = readme_rows();
  for (const std::string& name : mixer_registry().names()) {
    std::vector<std::string> numbers;
    int found = 0;
    for (const Row& row : rows) {
      // A long form may have a row of its own, without a link: "base_conv, long filter".
      const bool linked = row[0].starts_with(fmt::format("[{0}]({0}/README.md)", name));
      if (!linked && !row[0].starts_with(name + ", ")) continue;
      found += linked;
      add_numbers(row.back(), numbers);
    }
    std::sort(numbers.begin(), numbers.end());
    EXPECT_EQ(found, 1) << name << " has no row in the table of mixers/README.md";
    EXPECT_EQ(numbers, numbers_of(mixer_registry().find(name))) << name;
  }
}

TEST(Deviations, TheTableOfQuirksHasTheirTexts) {
  const std::vector<Row> rows = readme_rows();
  for (const std::string& name : mixer_registry().names())
    for (const Deviation& deviation : mixer_registry().find(name).deviations)
      EXPECT_EQ(std::count_if(rows.begin(), rows.end(),
                              [&](const Row& row) {
                                return row.size() == 4 && row[0] == deviation.number &&
                                       row[1] == deviation.reference && row[2] == deviation.sound;
                              }),
                1)
          << name << " declares, and the table does not have: | " << deviation.number << " | "
          << deviation.reference << " | " << deviation.sound << " |";
}

}  // namespace
}  // namespace recallbench
