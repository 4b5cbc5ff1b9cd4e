#include "analysis/characters.h"

#include <gtest/gtest.h>

namespace recallbench {
namespace {

TEST(PlainText, IsOneLineOfUtf8WithoutControls) {
  EXPECT_EQ(plain_text("a\x1b[31m\r\n\tb"), "a [31m   b");
  EXPECT_EQ(plain_text("a\xFF"
                       "b\xC3"),
            "a?b?");
  EXPECT_EQ(plain_text("\xED\xA0\x80"), "???");  // a surrogate
  EXPECT_EQ(plain_text("a\xE2\x80\xAE"
                       "b"),
            "a b");  // right-to-left override
  EXPECT_EQ(plain_text("a\xC2\x9B"
                       "b"),
            "a b");  // C1 control
  EXPECT_EQ(plain_text("a\xEF\xBF\xBF"
                       "b"),
            "a b");  // U+FFFF, not allowed in XML
  EXPECT_EQ(plain_text("Größe", 5), "Größe");
  EXPECT_EQ(plain_text("Größen", 5), "Größ\u2026");
  EXPECT_EQ(text_width("Größ\u2026"), 5u);
}

TEST(PlainText, IsCutByColumns) {
  EXPECT_EQ(text_width("長い名前"), 8u);
  EXPECT_EQ(text_width("e\u0301"), 1u);
  EXPECT_EQ(text_width("\U0001F600"), 2u);
  EXPECT_EQ(plain_text("長い名前", 8), "長い名前");
  EXPECT_EQ(plain_text("長い名前", 7), "長い名\u2026");
  EXPECT_EQ(plain_text("長い名前", 6), "長い\u2026");
  EXPECT_EQ(plain_text("長い名前", 1), "\u2026");
}

TEST(CodePoint, IsThatOfTheCharacter) {
  EXPECT_EQ(code_point("A"), 0x41u);
  EXPECT_EQ(code_point("\u00E9"), 0xE9u);
  EXPECT_EQ(code_point("\u9577"), 0x9577u);
  EXPECT_EQ(code_point("\U0001F600"), 0x1F600u);
}

}  // namespace
}  // namespace recallbench
