#include "analysis/compare.h"

#include <gtest/gtest.h>

#include "tests/analysis/support.h"

namespace recallbench {
namespace {

ModelPoint point(const std::string& family, double bytes, double accuracy) {
  ModelPoint p;
  p.family = family;
  p.model = family + "-" + std::to_string(static_cast<int>(bytes));
  p.published_bytes = bytes;
  p.has_result = true;
  p.state_length = 1024;
  p.valid.mean = accuracy;
  return p;
}

TEST(Compare, PairsByFamilyAndNearestStateAndAllowsBetter) {
  const std::vector<ModelPoint> points = {point("sliding_window", 9728, 0.08),
                                          point("based", 40548, 0.85), point("based", 12468, 0.9),
                                          point("based", 12300, 0.1), point("gla", 40548, 0.9)};
  const auto found = compare_with_published(points,
                                            {{"Based", 40400, 0.912},
                                             {"Based", 12409, 0.719},
                                             {"Attention/Sliding window", 9680, 0.1},
                                             {"Based", 99999, 0.5},
                                             {"RWKV-7", 40548, 0.5}},
                                            0.03);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].model, "sliding_window-9728");  // families in the order of the points
  EXPECT_TRUE(found[0].holds);                       // 0.02 below
  EXPECT_EQ(found[1].model, "based-12468");          // the nearer of two
  EXPECT_TRUE(found[1].holds);                       // above
  EXPECT_EQ(found[2].model, "based-40548");
  EXPECT_FALSE(found[2].holds);  // 0.062 below
  const Table table = comparison_table(found);
  EXPECT_EQ(table.rows.size(), 3u);
  EXPECT_NEAR(std::get<double>(table.rows[2][4]), -0.062, 1e-12);
}

TEST(Compare, OfTwoAsNearTheBetterCounts) {
  const auto found = compare_with_published(
      {point("based", 12468, 0.7), point("based", 12468, 0.9), point("based", 12468, 0.8)},
      {{"Based", 12409, 0.85}}, 0.03);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].here, 0.9);
}

TEST(Compare, SaysWhatSetsATaskApartFromThePublished) {
  SummaryRow run = make_run("based", 1e-3, 1, 0.9);
  run.task = "train 10 mqar(num_kv_pairs=4)";
  run.vocab_size = 8192;
  run.state_length = 1024;
  EXPECT_TRUE(differences_from_published({run}, "test").empty());
  EXPECT_EQ(differences_from_published({run}, "valid").size(), 1u);
  SummaryRow other = run;
  other.task = "train 10 echo()";
  other.vocab_size = 288;
  other.state_length = 256;
  EXPECT_EQ(differences_from_published({run, other}, "test").size(), 3u);
}

TEST(Compare, APointWithoutResultOrStateHasNoPartner) {
  ModelPoint failed = point("based", 12468, 0.9), unknown = point("based", 12468, 0.9);
  ModelPoint other_task = unknown;
  other_task.state_length = 256;
  failed.has_result = false;
  unknown.published_bytes = SummaryRow::kNone;
  EXPECT_TRUE(
      compare_with_published({failed, unknown, other_task}, {{"Based", 12468, 0.7}}, 0.03).empty());
}

TEST(Compare, TheMeasuredFigureHolds) {
  const std::string folder = std::string(RECALLBENCH_SOURCE_DIR) + "/results/";
  const auto found = compare_with_published(
      select_points(load_summaries({folder + "measured/based-figure2/summary.csv"})),
      load_published(folder + "published/recall-memory-tradeoff.csv"), 0.03);
  EXPECT_EQ(found.size(), 16u);  // nine of BASED, seven windows
  for (const ComparedPoint& p : found) {
    EXPECT_TRUE(p.holds) << p.model << " " << p.here << " against " << p.published;
    EXPECT_NEAR(p.here, p.published, p.family == "based" ? 0.03 : 0.002) << p.model;
  }
}

}  // namespace
}  // namespace recallbench
