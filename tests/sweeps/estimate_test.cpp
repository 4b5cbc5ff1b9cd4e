#include "sweeps/run/estimate.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <numeric>
#include <sstream>

#include "sweeps/config/recipe.h"
#include "tests/process/process.h"

namespace recallbench {
namespace {

/// Milliseconds of a step of four runs of each model, in each segment: the table with five of them.
std::vector<std::vector<double>> measured_steps() {
  std::istringstream page(file_text(std::string(RECALLBENCH_SOURCE_DIR) +
                                    "/results/measured/training-steps/README.md"));
  std::vector<std::vector<double>> rows;
  for (std::string line; std::getline(page, line);) {
    std::istringstream cells(line);
    std::vector<double> row;
    std::string cell;
    for (std::getline(cells, cell, '|'); std::getline(cells, cell, '|');) {
      double number = 0;
      if (std::istringstream text(cell); text >> number && text >> std::ws && text.eof())
        row.push_back(number);
    }
    if (row.size() == 6) rows.push_back({row.begin(), row.end() - 1});  // the last is memory
  }
  return rows;
}

/// What an epoch took by these steps.
double epoch_seconds(const RunConfig& run, const std::vector<double>& steps) {
  double ms = 0;
  for (std::size_t s = 0; s < steps.size(); ++s) {
    const auto batches = (run.task.train[s].num_examples + run.task.train_batch_size - 1) /
                         run.task.train_batch_size;
    ms += steps[s] * static_cast<double>(batches);
  }
  return ms / 1000;
}

TEST(Estimate, IsWithinAFactorOfTwoOfMostMeasuredModelsOnAGpu) {
  std::vector<RunConfig> runs = load_recipe("recall-memory-tradeoff").runs;
  const auto measured = measured_steps();
  ASSERT_EQ(measured.size(), 55U);
  ASSERT_EQ(runs.size(), 4 * measured.size());  // four learning rates
  std::size_t near = 0;
  double all = 0, estimated = 0;
  for (std::size_t i = 0; i < measured.size(); ++i) {
    std::vector<RunConfig> four(runs.begin() + static_cast<std::ptrdiff_t>(4 * i),
                                runs.begin() + static_cast<std::ptrdiff_t>(4 * i + 4));
    for (RunConfig& run : four) {
      run.train.max_epochs = 1;
      run.task.test.clear();  // what was measured is training alone
    }
    const double seconds = estimate_on_gpus(four, 1, [](const auto&) { return 4; }).seconds;
    const double took = epoch_seconds(four[0], measured[i]);
    near += seconds < 2 * took && took < 2 * seconds ? 1 : 0;
    all += took;
    estimated += seconds;
  }
  EXPECT_GE(near, 52U);
  const std::string page = file_text(std::string(RECALLBENCH_SOURCE_DIR) + "/sweeps/README.md");
  EXPECT_NE(page.find(fmt::format(" {} of them within", near)), std::string::npos) << near;
  EXPECT_LT(estimated / all, 1.2);
  EXPECT_GT(estimated / all, 0.8);
}

class Estimates : public testing::Test {
 protected:
  static Estimate on_gpus(const std::vector<RunConfig>& runs, int gpus, std::int64_t together) {
    return estimate_on_gpus(runs, gpus, [=](const RunConfig&) { return together; });
  }
  const std::vector<RunConfig> runs_ = load_recipe("demo", {"seed=1,2,3"}).runs;
};

TEST_F(Estimates, SayWhatTheyAreOf) {
  EXPECT_EQ(estimate_on_cores(runs_, 1).where, "on 1 core");
  EXPECT_EQ(estimate_on_cores(runs_, 2).where, "on 2 cores");
  EXPECT_EQ(on_gpus(runs_, 1, 1).where, "on a GPU such as the H200");
  EXPECT_EQ(on_gpus(runs_, 8, 1).where, "on 8 GPUs such as the H200");
  EXPECT_EQ(on_gpus(runs_, 8, 1).operations, estimate_on_cores(runs_, 2).operations);
}

TEST_F(Estimates, RunsThatTrainTogetherShareWhatEveryStepTakes) {
  const double alone = on_gpus(runs_, 1, 1).seconds, together = on_gpus(runs_, 1, 12).seconds;
  EXPECT_LT(together, alone);
  EXPECT_GT(together, alone / 3);
}

TEST_F(Estimates, MoreGpusThanRunsAreNoFaster) {
  EXPECT_LT(on_gpus(runs_, 2, 1).seconds, on_gpus(runs_, 1, 1).seconds);
  const std::vector<RunConfig> one = {runs_[0]};
  EXPECT_EQ(on_gpus(one, 8, 1).seconds, on_gpus(one, 1, 1).seconds);
}

}  // namespace
}  // namespace recallbench
