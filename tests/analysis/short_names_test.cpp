#include "analysis/short_names.h"

#include <gtest/gtest.h>

#include <set>

#include "analysis/characters.h"

namespace recallbench {
namespace {

using Names = std::vector<std::string>;

TEST(ShortNames, ThatFitStayAsTheyAre) {
  EXPECT_EQ(short_names({"based", "based", "模型", ""}, 8), (Names{"based", "based", "模型", ""}));
}

TEST(ShortNames, ThatNobodySeesAreTheNumbersOfTheirCharacters) {
  EXPECT_EQ(short_names({"\u200B", "\u200B\u2060", " ", "\u3000", "\u2800", "a\u200B"}, 16),
            (Names{"[U+200B]", "[U+200B U+2060]", "[U+0020]", "[U+3000]", "[U+2800]", "a\u200B"}));
  EXPECT_EQ(short_names({std::string(9, ' ')}, 16), (Names{"[U+0020 U+0020 \u2026"}));
}

TEST(ShortNames, AreCutWhereTheyBegin) {
  EXPECT_EQ(short_names({"sliding window attention", "based"}, 12),
            (Names{"sliding win\u2026", "based"}));
}

TEST(ShortNames, KeepWhatSetsThemApart) {
  EXPECT_EQ(short_names({"recurrent memory, small", "recurrent memory, large", "b"}, 16),
            (Names{"recurren\u2026, small", "recurren\u2026, large", "b"}));
  EXPECT_EQ(short_names({"recurrent memory, small", "recurrent memory, small"}, 16),
            (Names{"recurrent memor\u2026", "recurrent memor\u2026"}));
}

TEST(ShortNames, AreDistinctWhereverTheNamesDiffer) {
  const std::string x(200, 'x'), y(200, 'y');
  for (const Names& names :
       {Names{x + "1" + x, x + "2" + x, x + "3" + x}, Names{x, x + x, x + x + x},
        Names{"a\x01", "a\x02", "a "},
        Names{x + "1" + y, x + "2" + y, std::string(9, 'x') + "\u2026" + "yyyyyy (1)"}}) {
    const Names shown = short_names(names, 20);
    EXPECT_EQ(std::set<std::string>(shown.begin(), shown.end()).size(), names.size());
    for (const std::string& name : shown) {
      EXPECT_LE(text_width(name), 20u) << name;
      EXPECT_EQ(plain_text(name), name);
    }
  }
}

}  // namespace
}  // namespace recallbench
