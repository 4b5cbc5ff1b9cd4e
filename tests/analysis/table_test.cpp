#include "analysis/table.h"

#include <gtest/gtest.h>

#include <cmath>

#include "analysis/csv.h"
#include "kernels/base/error.h"

namespace recallbench {
namespace {

Table sample_table() {
  Table table;
  table.columns = {"name", "n", "accuracy", "best", "ids"};
  table.rows = {{std::string("Größe, \x1b[31m"), std::int64_t{12}, 1.0 / 3, true,
                 std::vector<std::string>{"r1", "r2"}},
                {std::string("=x"), std::int64_t{7}, std::nan(""), false, Cell()}};
  return table;
}

TEST(Table, TextIsAligned) {
  EXPECT_EQ(to_text(sample_table(), 3),
            "name           n  accuracy  best  ids\n"
            "Größe,  [31m  12     0.333  yes   r1 r2\n"
            "=x             7            no\n");
}

TEST(Table, CsvKeepsEveryDigit) {
  const std::string csv = to_csv(sample_table());
  EXPECT_EQ(csv,
            "name,n,accuracy,best,ids\n"
            "\"Größe, ?[31m\",12,0.3333333333333333,yes,r1 r2\n"
            "\"'=x\",7,,no,\n");
  EXPECT_EQ(parse_csv(csv, "t.csv").size(), 3u);
}

TEST(Table, JsonKeepsTypes) {
  const Json json = to_json(sample_table());
  const Json back = parse_json(json.indented(), "t.json", ErrorKind::io);
  EXPECT_EQ(back.size(), 2u);
  EXPECT_EQ(back.at(0).at("name").as_string(), "Größe, \x1b[31m");
  EXPECT_EQ(back.at(0).at("n").as_int(), 12);
  EXPECT_EQ(back.at(0).at("accuracy").as_double(), 1.0 / 3);
  EXPECT_TRUE(back.at(0).at("best").as_bool());
  EXPECT_EQ(back.at(0).at("ids").size(), 2u);
  EXPECT_TRUE(back.at(1).at("accuracy").is_null());
  EXPECT_TRUE(back.at(1).at("ids").is_null());
  EXPECT_EQ(json.indented().find('\x1b'), std::string::npos);
}

TEST(Table, ARaggedRowIsRefused) {
  Table table = sample_table();
  table.rows[1].pop_back();
  EXPECT_THROW(to_text(table), Error);
  EXPECT_THROW(to_csv(table), Error);
  EXPECT_THROW(to_json(table), Error);
}

}  // namespace
}  // namespace recallbench
