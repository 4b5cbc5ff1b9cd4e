#include "analysis/csv.h"

#include <gtest/gtest.h>

#include <bit>
#include <clocale>
#include <cmath>
#include <limits>
#include <random>

#include "tests/analysis/support.h"

namespace recallbench {
namespace {

const std::vector<std::string> kHostileCells = {"",
                                                "plain",
                                                "a,b",
                                                "quote\"quote",
                                                "\"",
                                                "two\nlines",
                                                "cr\r\nlf",
                                                "=1+1",
                                                "+1",
                                                "-1",
                                                "@SUM(A1)",
                                                "'quoted",
                                                "''",
                                                "=cmd|' /C calc'!A0",
                                                " leading",
                                                "trailing ",
                                                "\tvalue",
                                                "Größe",
                                                "`id`",
                                                "$(id)",
                                                "');alert(1)//",
                                                "<b>&amp;</b>",
                                                "\xEF\xBB\xBF bom"};

TEST(Csv, EveryTextComesBack) {
  for (const std::string& first : kHostileCells)
    for (const std::string& second : kHostileCells) {
      const std::string line = csv_text("x" + first) + "," + csv_text(second) + ",end\n";
      const std::vector<CsvRecord> records = parse_csv(line, "t.csv");
      ASSERT_EQ(records.size(), 1u) << line;
      ASSERT_EQ(records[0].cells.size(), 3u) << line;
      EXPECT_EQ(records[0].cells[0], "x" + first);
      EXPECT_EQ(records[0].cells[1], second);
    }
}

TEST(Csv, NoCellBeginsAFormula) {
  for (const std::string start : {"=", "+", "-", "@", "\t", "\r"})
    EXPECT_EQ(csv_text(start + "1"), "\"'" + start + "1\"");
}

TEST(Csv, ControlCharactersDoNotReachTheFile) {
  EXPECT_EQ(csv_text("a\x1b[31mb"), "a?[31mb");
  EXPECT_EQ(csv_text(std::string("a\0b", 3)), "a?b");
}

TEST(Csv, ReadsLineEndsByteOrderMarkAndLastLine) {
  for (const std::string text : {"a,b\n1,2\n", "a,b\r\n1,2\r\n",
                                 "\xEF\xBB\xBF"
                                 "a,b\n1,2",
                                 "a,b\n\n1,2\n\n"}) {
    const std::vector<CsvRecord> records = parse_csv(text, "t.csv");
    ASSERT_EQ(records.size(), 2u) << text;
    EXPECT_EQ(records[0].cells, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(records[1].cells, (std::vector<std::string>{"1", "2"}));
  }
}

TEST(Csv, RefusesWhatIsNoCsvAndSaysWhere) {
  const struct {
    std::string text, place, what;
  } cases[] = {
      {std::string("a,b\n1,\0", 7), "t.csv:2", "NUL"},
      {"a,b\n1,\"open\n", "t.csv:2", "never closed"},
      {"a,b\n\"x\"y,2\n", "t.csv:2", "after a closing quote"},
      {"a,b\n1,x\"y\n", "t.csv:2", "inside an unquoted cell"},
      {"a,b\n1,2\n3\n", "t.csv:3", "expected 2 cells"},
      {"a,b\n1,2,3\n", "t.csv:2", "found 3"},
      {"a,\"b\nc\"\n1,2\n3,4,5\n", "t.csv:4", "found 3"},
  };
  for (const auto& c : cases) {
    const std::string message = message_of(ErrorKind::io, [&] { parse_csv(c.text, "t.csv"); });
    EXPECT_NE(message.find(c.place), std::string::npos) << message;
    EXPECT_NE(message.find(c.what), std::string::npos) << message;
  }
}

TEST(Csv, RandomBytesAreReadOrRefused) {
  std::mt19937 engine(7);
  const std::string letters = "a,\"\n\r'=\xC3\x80 1";
  int read = 0, refused = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text;
    for (unsigned i = engine() % 24; i > 0; --i)
      text += letters[engine() % letters.size()];
    try {
      const auto records = parse_csv(text, "t.csv");
      for (const CsvRecord& record : records)
        EXPECT_EQ(record.cells.size(), records[0].cells.size());
      ++read;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(read, 100);
  EXPECT_GT(refused, 100);
}

TEST(Csv, NumbersReadBackToTheSameBits) {
  std::mt19937_64 engine(3);
  for (int round = 0; round < 10000; ++round) {
    const double value = std::bit_cast<double>(engine());
    if (!std::isfinite(value)) continue;
    const auto back = parse_number(csv_number(value));
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(std::bit_cast<std::uint64_t>(*back), std::bit_cast<std::uint64_t>(value));
  }
}

TEST(Csv, WhatIsNotFiniteIsEmpty) {
  EXPECT_EQ(csv_number(std::numeric_limits<double>::quiet_NaN()), "");
  EXPECT_EQ(csv_number(std::numeric_limits<double>::infinity()), "");
}

TEST(Csv, NumbersAreStrict) {
  for (const char* bad :
       {"", " 1", "1 ", "nan", "inf", "-inf", "1e400", "0x10", "1,5", "1.5f", "--1"})
    EXPECT_FALSE(parse_number(bad).has_value()) << bad;
  for (const char* bad : {"", "1.0", "9223372036854775808", " 1", "1e3"})
    EXPECT_FALSE(parse_integer(bad).has_value()) << bad;
  EXPECT_FALSE(parse_unsigned("-1").has_value());
  EXPECT_EQ(parse_unsigned("18446744073709551615"), 18446744073709551615u);
}

TEST(Csv, NumbersDoNotDependOnTheLocale) {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  if (std::setlocale(LC_ALL, "de_DE.UTF-8") == nullptr)
    GTEST_SKIP() << "the locale de_DE.UTF-8 is not installed";
  EXPECT_EQ(csv_number(0.5), "0.5");
  EXPECT_EQ(parse_number("0.5"), 0.5);
  EXPECT_FALSE(parse_number("0,5").has_value());
  std::setlocale(LC_ALL, before.c_str());
}

}  // namespace
}  // namespace recallbench
