// What a sliding window can see of its test data, and that the measured windows recall just that.
#include "tests/sweeps/window_reach.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

#include "analysis/summary.h"
#include "sweeps/config/recipe.h"
#include "sweeps/store/labels.h"

namespace recallbench {
namespace {

constexpr const char* kRecipe = "based-figure2-small";

Dataset one_example(const std::vector<std::int32_t>& inputs,
                    const std::vector<std::int32_t>& labels, std::int64_t queries) {
  return Dataset(TaskShape{64, static_cast<std::int64_t>(inputs.size()), queries},
                 SegmentData{inputs, labels});
}

TEST(WindowReach, DistanceIsToTheLastEarlierPlace) {
  const std::vector<std::int32_t> tokens = {8, 40, 3, 41, 8, 0, 3, 8};
  EXPECT_EQ(distance_to_key(tokens, 4), 4);
  EXPECT_EQ(distance_to_key(tokens, 6), 4);
  EXPECT_EQ(distance_to_key(tokens, 7), 3);
  EXPECT_EQ(distance_to_key(tokens, 3), 0);
}

TEST(WindowReach, TheConvolutionsTapsLengthenTheWindow) {
  // A query 4 tokens behind its key; with two taps key and value meet 3 tokens before the query.
  EXPECT_TRUE(within_reach(4, 4, 2));
  EXPECT_FALSE(within_reach(4, 3, 2));
  EXPECT_TRUE(within_reach(4, 3, 3));
  EXPECT_FALSE(within_reach(4, 2, 3));
  EXPECT_TRUE(within_reach(4, 2, 4));
}

TEST(WindowReach, ShareOfAHandMadeExample) {
  const std::int32_t no = kIgnoreLabel;
  // Distances 4, 6 and 8 to the keys 8, 3 and 5.
  const Dataset data = one_example({5, 42, 3, 41, 8, 40, 0, 0, 8, 0, 0, 0},
                                   {no, no, no, no, no, no, no, no, 40, no, no, no}, 1);
  EXPECT_EQ(share_within_reach(data, 3, 3), 1.0);
  EXPECT_EQ(share_within_reach(data, 2, 3), 0.0);
  const Dataset three = one_example({5, 42, 3, 41, 8, 40, 0, 0, 8, 3, 0, 5},
                                    {no, no, no, no, no, no, no, no, 40, 41, no, 42}, 3);
  EXPECT_EQ(share_within_reach(three, 3, 3), 1.0 / 3);
  EXPECT_EQ(share_within_reach(three, 6, 3), 2.0 / 3);
  EXPECT_EQ(share_within_reach(three, 10, 3), 1.0);
}

struct MeasuredRun {
  RunConfig config;
  SummaryRow row;
};

/// The runs of the recipe beside their rows in the committed summary.csv, by label.
std::map<std::string, MeasuredRun> measured_runs() {
  const Recipe recipe = load_recipe(kRecipe);
  const std::vector<SummaryRow> rows = load_summaries(
      {fmt::format("{}/results/measured/{}/summary.csv", RECALLBENCH_SOURCE_DIR, kRecipe)});
  const RunLabels labels = make_labels(recipe.runs);
  std::map<std::string, MeasuredRun> runs;
  for (std::size_t i = 0; i < recipe.runs.size(); ++i)
    for (const SummaryRow& row : rows)
      if (row.model == labels.model[i] && row.task == labels.task[i])
        runs[labels.model[i]] = {recipe.runs[i], row};
  EXPECT_EQ(runs.size(), recipe.runs.size()) << "the recipe changed: measure it again";
  return runs;
}

TEST(MeasuredSmallRecipe, AWindowRecallsTheShareWithinItsReach) {
  int compared = 0;
  for (const auto& [label, run] : measured_runs()) {
    if (run.config.model_name != "sliding_window") continue;
    const double share = share_within_reach_of(run.config);
    fmt::print("{}: {:.4f} within reach, accuracy {:.4f}\n", label, share, run.row.test_accuracy);
    if (share < 0.5) continue;
    const double error = std::abs(run.row.test_accuracy - share);
    EXPECT_TRUE(error <= 0.02) << label << " is off by " << error;
    ++compared;
  }
  EXPECT_GE(compared, 3);
}

/// Accuracy of the family at `state` bytes, linear in log2(state) between its two points around.
double accuracy_at(const std::map<double, double>& points, double state) {
  const auto above = points.lower_bound(state);
  if (above == points.end() || above == points.begin()) return SummaryRow::kNone;
  const auto below = std::prev(above);
  const double way = std::log2(state / below->first) / std::log2(above->first / below->first);
  return below->second + way * (above->second - below->second);
}

TEST(MeasuredSmallRecipe, BasedLiesAboveTheWindowAndAttentionOnTopAtTheRight) {
  std::map<std::string, std::map<double, double>> families;  // state → accuracy
  for (const auto& [label, run] : measured_runs()) {
    ASSERT_EQ(run.row.status, kStatusDone) << label << ": " << run.row.reason;
    // A window counts as if it answered all that it sees, however far its training came.
    const double floor =
        run.config.model_name == "sliding_window" ? share_within_reach_of(run.config) : 0;
    families[run.row.model_name][static_cast<double>(run.row.state_bytes.value())] =
        std::max(run.row.test_accuracy, floor);
  }
  for (const auto& [attention_state, attention] : families.at("attention"))
    for (const auto& [family, points] : families)
      for (const auto& [state, accuracy] : points) {
        if (family == "attention") continue;
        EXPECT_LT(state, attention_state) << family;
        EXPECT_LT(accuracy, attention) << family << " with " << state << " bytes";
      }
  for (const auto& [state, accuracy] : families.at("based")) {
    const double window = accuracy_at(families.at("sliding_window"), state);
    fmt::print("{} bytes: based {:.4f}, window {:.4f}\n", state, accuracy, window);
    EXPECT_GT(accuracy, window) << "with " << state << " bytes";
  }
}

}  // namespace
}  // namespace recallbench
