// <recipe>.expected.csv: only models that the recipe has, only accuracies that a source holds.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <sstream>

#include "analysis/expected.h"
#include "analysis/published.h"
#include "mixers/model.h"
#include "sweeps/config/recipe.h"
#include "sweeps/store/labels.h"
#include "tests/sweeps/window_reach.h"

namespace recallbench {
namespace {

const std::string kResults = std::string(RECALLBENCH_SOURCE_DIR) + "/results/";

class ExpectedFile : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const auto file = expected_file(GetParam());
    ASSERT_TRUE(file.has_value()) << GetParam() << " has no expected accuracies beside it";
    points_ = load_expected(*file);
    recipe_ = load_recipe(GetParam());
    labels_ = make_labels(recipe_.runs).model;
  }

  static std::int64_t length_of(const RunConfig& run) {
    std::int64_t longest = 0;
    for (const SegmentConfig& segment : run.task.test)
      longest = std::max(longest, std::get<std::int64_t>(segment.options.at("input_seq_len")));
    return longest;
  }

  /// The runs that stand where the point is, by label: one, or several where it names no width.
  std::map<std::string, RunConfig> runs_of(const ExpectedPoint& point) const {
    std::map<std::string, RunConfig> found;
    for (std::size_t i = 0; i < recipe_.runs.size(); ++i) {
      const RunConfig& run = recipe_.runs[i];
      if (run.model_name != point.family || length_of(run) != point.state_length) continue;
      if (point.d_model && run.model.d_model != *point.d_model) continue;
      if (found.count(labels_[i]) != 0) continue;
      const auto bytes = Model(run.model, DType::f32, 1).published_state_bytes(point.state_length);
      if (bytes == point.state_size) found.emplace(labels_[i], run);
    }
    return found;
  }

  std::vector<ExpectedPoint> points_;
  Recipe recipe_;
  std::vector<std::string> labels_;
};

/// "published SERIES BYTES": the point of that series and size in results/published.
void expect_published(const ExpectedPoint& point, const std::string& series, double bytes,
                      std::int64_t d_model) {
  const auto all = load_published(kResults + "published/recall-memory-tradeoff.csv");
  const auto found = std::find_if(all.begin(), all.end(), [&](const PublishedPoint& p) {
    return p.series == series && p.state_bytes == bytes;
  });
  ASSERT_NE(found, all.end()) << point.source;
  EXPECT_EQ(point.accuracy, found->accuracy) << point.source;
  double state = point.state_size;
  if (series == "RWKV-7") {  // there counted as H d² numbers, with H = d / 64, and the convolution
    const auto d = static_cast<double>(d_model);
    state = 4 * (d / 64 * d * d + 3 * d);
  }
  EXPECT_LE(std::abs(bytes / state - 1), 0.03) << point.source;
}

/// "measured SWEEP COMMIT": the chosen run in results/measured.
void expect_measured(const ExpectedPoint& point, const std::string& sweep,
                     const std::string& commit) {
  const auto rows = load_summaries({kResults + "measured/" + sweep + "/summary.csv"});
  ExpectedPoint as_measured = point;
  as_measured.tolerance = 5.1e-5;  // four decimals
  const JudgedPoint judged = judge(select_points(rows), {as_measured}).at(0);
  EXPECT_EQ(judged.verdict, Verdict::holds)
      << point.source << " " << point.family << ": " << judged.measured;
  for (const SummaryRow& row : rows) {
    if (row.model != judged.model) continue;
    EXPECT_NE(row.code_version.find("(" + commit + ")"), std::string::npos) << row.code_version;
  }
}

/// "reach": the share of the test data's answers that this window can see.
void expect_reach(const ExpectedPoint& point, const RunConfig& run) {
  ASSERT_EQ(run.model.layers.at(1).mixer, "sliding_window");
  EXPECT_NEAR(point.accuracy, share_within_reach_of(run), 5.1e-5) << point.state_size;
}

TEST_P(ExpectedFile, NamesOnlyModelsOfItsRecipe) {
  for (const ExpectedPoint& point : points_) {
    const auto runs = runs_of(point);
    const std::string text = fmt::format("{} with {} bytes", point.family, point.state_size);
    EXPECT_EQ(runs.size(), point.d_model ? 1u : 2u) << text;
  }
}

TEST_P(ExpectedFile, HasOnlyAccuraciesThatTheirSourceHolds) {
  for (const ExpectedPoint& point : points_) {
    const auto runs = runs_of(point);
    ASSERT_FALSE(runs.empty()) << point.family;
    const RunConfig& run = runs.begin()->second;
    std::istringstream words(point.source);
    std::string kind, rest;
    words >> kind;
    std::getline(words >> std::ws, rest);
    const std::size_t space = rest.rfind(' ');
    if (kind == "published")
      expect_published(point, rest.substr(0, space), std::stod(rest.substr(space)),
                       run.model.d_model);
    else if (kind == "measured")
      expect_measured(point, rest.substr(0, space), rest.substr(space + 1));
    else if (kind == "reach")
      expect_reach(point, run);
    else
      ADD_FAILURE() << "'" << point.source << "' is neither published, measured nor reach";
  }
}

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const RecipeInfo& recipe : known_recipes())
    names.push_back(recipe.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Recipes, ExpectedFile, testing::ValuesIn(recipe_names()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace recallbench
