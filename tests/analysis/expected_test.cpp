#include "analysis/expected.h"

#include <gtest/gtest.h>

#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

const std::string kHeader =
    "model.name,model.d_model,state_length,state_size,accuracy,tolerance,source\n";

std::vector<ExpectedPoint> read(const std::string& rows) {
  return read_expected(kHeader + rows, "e.csv");
}

ModelPoint point(const std::string& family, std::int64_t d_model, double bytes, double accuracy) {
  ModelPoint p;
  p.family = family;
  p.model = family + " d_model=" + std::to_string(d_model);
  p.d_model = d_model;
  p.published_bytes = bytes;
  p.state_length = 1024;
  p.has_result = true;
  p.result.mean = accuracy;
  return p;
}

TEST(Expected, ReadsPointsAndAHeaderAlone) {
  EXPECT_TRUE(read("").empty());
  const auto points = read(
      "based,64,1024,40548,0.912,0.03,published Based 40455\n"
      "mamba2,,1024,16384,0.689,0.03,somewhere\n");
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[0].family, "based");
  EXPECT_EQ(points[0].d_model, 64);
  EXPECT_EQ(points[0].state_length, 1024);
  EXPECT_EQ(points[0].state_size, 40548);
  EXPECT_EQ(points[0].accuracy, 0.912);
  EXPECT_EQ(points[0].tolerance, 0.03);
  EXPECT_EQ(points[0].source, "published Based 40455");
  EXPECT_FALSE(points[1].d_model.has_value());
}

TEST(Expected, WrongFilesAreToldWhere) {
  EXPECT_ERROR(read_expected("", "e.csv"), ErrorKind::io, "e.csv:1");
  EXPECT_ERROR(read_expected("model.name,accuracy\na,1\n", "e.csv"), ErrorKind::io, "header");
  EXPECT_ERROR(read("based,64,1024,40548,1.2,0.03,x\n"), ErrorKind::io, "e.csv:2: column accuracy");
  EXPECT_ERROR(read("based,64,1024,40548,0.9,,x\n"), ErrorKind::io, "column tolerance");
  EXPECT_ERROR(read("based,no,1024,40548,0.9,0.1,x\n"), ErrorKind::io, "column model.d_model");
  EXPECT_ERROR(read("based,64,0,40548,0.9,0.1,x\n"), ErrorKind::io, "column state_length");
  EXPECT_ERROR(read("based,64,1024,,0.9,0.1,x\n"), ErrorKind::io, "column state_size");
  EXPECT_ERROR(read("based,64,1024,40548,0.9,0.1,\n"), ErrorKind::io, "column source");
  EXPECT_ERROR(read(",64,1024,40548,0.9,0.1,x\n"), ErrorKind::io, "column model.name");
  const std::string row = "based,64,1024,40548,0.9,0.1,x\n";
  EXPECT_ERROR(read(row + row), ErrorKind::io, "e.csv:3");
}

Verdict verdict_of(double measured) {
  const auto judged =
      judge({point("based", 64, 40548, measured)}, read("based,64,1024,40548,0.9,0.03,x\n"));
  return judged.at(0).verdict;
}

TEST(Expected, VerdictsAreByTheTolerance) {
  EXPECT_EQ(verdict_of(0.86), Verdict::below);
  EXPECT_EQ(verdict_of(0.88), Verdict::holds);
  EXPECT_EQ(verdict_of(0.92), Verdict::holds);
  EXPECT_EQ(verdict_of(0.94), Verdict::above);
  EXPECT_EQ(verdict_of(SummaryRow::kNone), Verdict::missing);
}

TEST(Expected, APointIsFoundByFamilyWidthStateAndLength) {
  const auto expected = read("based,64,1024,40548,0.9,0.03,x\n");
  const ModelPoint right = point("based", 64, 40548, 0.9);
  std::vector<ModelPoint> wrong(5, right);
  wrong[0].family = "gla";
  wrong[1].d_model = 128;
  wrong[2].published_bytes = 40547;
  wrong[3].state_length = 256;
  wrong[4].has_result = false;
  EXPECT_EQ(judge(wrong, expected).at(0).verdict, Verdict::missing);
  wrong.push_back(right);
  const JudgedPoint found = judge(wrong, expected).at(0);
  EXPECT_EQ(found.verdict, Verdict::holds);
  EXPECT_EQ(found.model, "based d_model=64");
}

TEST(Expected, WhereNoWidthIsGivenTheBestOfThatStateCounts) {
  const auto expected = read("mamba2,,1024,16384,0.689,0.03,x\n");
  const auto judged =
      judge({point("mamba2", 64, 16384, 0.5), point("mamba2", 128, 16384, 0.7)}, expected);
  EXPECT_EQ(judged.at(0).model, "mamba2 d_model=128");
  EXPECT_EQ(judged.at(0).verdict, Verdict::holds);
}

TEST(Expected, TheTableLeavesAMissingMeasurementEmpty) {
  const auto judged = judge({point("based", 64, 40548, 0.9)},
                            read("based,64,1024,40548,0.9,0.03,x\nmamba2,,1024,8,0.6,0.03,y\n"));
  EXPECT_EQ(to_csv(judgement_table("s", judged)),
            "sweep,model,d_model,state_size,measured,expected,tolerance,verdict,source\n"
            "s,based d_model=64,64,40548,0.9,0.9,0.03,holds,x\n"
            "s,mamba2,,8,,0.6,0.03,missing,y\n");
}

}  // namespace
}  // namespace recallbench
