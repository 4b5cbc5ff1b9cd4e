#include "kernels/base/text.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "kernels/base/hash.h"
#include "kernels/base/philox.h"
#include "kernels/base/version.h"

namespace recallbench {
namespace {

TEST(Text, Utf8LengthOfEveryKind) {
  EXPECT_EQ(utf8_length(""), 0u);
  EXPECT_EQ(utf8_length("a"), 1u);
  EXPECT_EQ(utf8_length("\xC3\xA9x"), 2u);
  EXPECT_EQ(utf8_length("\xE2\x82\xAC"), 3u);
  EXPECT_EQ(utf8_length("\xF0\x9F\x98\x80"), 4u);
  EXPECT_EQ(utf8_length("\xF4\x8F\xBF\xBF"), 4u);
  for (const std::string_view bad :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC3", "\xC3\x28", "\xE0\x80\x80", "\xE2\x82",
        "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF0\x9F\x98", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xFF"})
    EXPECT_EQ(utf8_length(bad), 0u) << printable(bad);
}

TEST(Text, NothingThatATerminalObeysGetsThrough) {
  EXPECT_EQ(in_quotes("a\x1b[31mb"), "'a\\x1b[31mb'");
  EXPECT_EQ(printable("a\nb\x7f\t"), "a\\x0ab\\x7f\\x09");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\\xc2\\x9b31m");
  EXPECT_EQ(printable("\xFFz"), "\\xffz");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(printable("Grün \xE2\x82\xAC"), "Grün \xE2\x82\xAC");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("abc", 3), "abc");
}

TEST(Text, SplitGivesOnePartMoreThanSeparators) {
  using Parts = std::vector<std::string_view>;
  EXPECT_EQ(split("", ','), Parts{""});
  EXPECT_EQ(split("a", ','), Parts{"a"});
  EXPECT_EQ(split(",a,,b,", ','), (Parts{"", "a", "", "b", ""}));
  EXPECT_EQ(trimmed("  a b "), "a b");
  EXPECT_EQ(trimmed("  "), "");
}

TEST(Text, SeparatorsInQuotesAndBracketsDoNotSplit) {
  using Parts = std::vector<std::string_view>;
  EXPECT_EQ(split_outside_brackets("", ","), Parts{""});
  EXPECT_EQ(split_outside_brackets("a,[b,{c,d}],(e,f),g", ","),
            (Parts{"a", "[b,{c,d}]", "(e,f)", "g"}));
  EXPECT_EQ(split_outside_brackets(R"("a,\",b",'c,\',"d")", ","),
            (Parts{R"("a,\",b")", R"('c,\')", R"("d")"}));
  EXPECT_EQ(split_outside_brackets("a], b; c", "; "), (Parts{"a], b", "c"}));
  EXPECT_EQ(split_outside_brackets("a[b,c", ","), Parts{"a[b,c"});
  EXPECT_EQ(split_outside_brackets("a; ", "; "), (Parts{"a", ""}));
}

TEST(Text, NumbersReadBackToTheSameBits) {
  EXPECT_EQ(number_text(3), "3.0");
  EXPECT_EQ(number_text(-0.0), "-0.0");
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(1e300), "1e+300");
  RandomStream stream(3, Purpose::test_values, 0, 0);
  for (int i = 0; i < 2000; ++i) {
    const double x = std::bit_cast<double>(stream.next64());
    if (x != x) continue;
    EXPECT_EQ(std::bit_cast<std::uint64_t>(std::strtod(number_text(x).c_str(), nullptr)),
              std::bit_cast<std::uint64_t>(x));
  }
}

/// As the hash's own implementation gives them (version 0.8.3, seed 0).
TEST(Hash, KnownAnswers) {
  EXPECT_EQ(xxh3_64(""), 0x2D06800538D394C2u);
  EXPECT_EQ(xxh3_128_hex(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(xxh3_128_hex("recall"), "77774da111988b660688f126a84c71a6");
  EXPECT_EQ(xxh3_128_hex(std::string(1000, 'a')), "b01da365eddaa29cb3e7af627147db7c");
  EXPECT_EQ(xxh3_64("recall"), 0x36876A998ADE3C29u);
}

TEST(Version, BeginsWithTheNumberAndMayNameTheCommit) {
  const std::string version = code_version();
  const std::size_t space = version.find(' ');
  const std::string number = version.substr(0, space);
  EXPECT_EQ(number.find_first_not_of("0123456789."), std::string::npos) << version;
  EXPECT_FALSE(number.empty());
  if (space == std::string::npos) return;
  const std::string commit = version.substr(space);
  EXPECT_EQ(commit.substr(0, 2), " (") << version;
  EXPECT_EQ(commit.back(), ')') << version;
  EXPECT_GE(commit.find_first_not_of("0123456789abcdef", 2), 9u) << version;
}

}  // namespace
}  // namespace recallbench
