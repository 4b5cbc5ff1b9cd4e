// Whole runs on the GPU: the same bits again, interrupted, and in populations; like the CPU's.
#include <gtest/gtest.h>

#include "kernels/base/io/temporary_folder.h"
#include "kernels/cuda/runtime.h"
#include "sweeps/config/recipe.h"
#include "sweeps/train/metrics_json.h"

namespace recallbench {
namespace {

class CudaTrainRun : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU";
  }
};

RunConfig small_run(const std::string& mixer, const std::vector<std::string>& overrides = {}) {
  const std::string recipe = fmt::format(R"(
schema = 1
name = "small"
[task]
batch_size = {{train = 16, test = 50}}
train = [{{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4, num_examples = 1000}},
         {{task = "mqar", vocab_size = 64, input_seq_len = 16, num_kv_pairs = 2, num_examples = 40}}]
test = [{{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4, num_examples = 60}}]
[model]
vocab_size = 64
d_model = 16
layers = [{{mixer = "base_conv", kernel_size = 3}}, {{mixer = "{}"}}]
[train]
max_epochs = 3
lr = 1e-2
)",
                                         mixer);
  return parse_recipe(recipe, "small.toml", overrides).runs.at(0);
}

TrainHooks on_gpu() {
  TrainHooks hooks;
  hooks.device = Device::cuda;
  return hooks;
}

std::string text(const RunResult& r) {
  return fmt::format("{} {} {} {} {} {}", r.status, r.reason, r.epochs, r.steps,
                     to_json(r.valid).compact(), to_json(r.test).compact());
}

TEST_P(CudaTrainRun, SameBitsTenTimesAndInAPopulation) {
  const RunConfig config = small_run(GetParam());
  const std::string alone = text(train_run(config, on_gpu()));
  for (int again = 1; again < 10; ++again)
    ASSERT_EQ(text(train_run(config, on_gpu())), alone) << again;
  const RunConfig slow = small_run(GetParam(), {"train.lr=1e-3"}),
                  other = small_run(GetParam(), {"seed=2"});
  const auto together =
      train_population({{&slow, on_gpu()}, {&config, on_gpu()}, {&other, on_gpu()}});
  EXPECT_EQ(text(together[1]), alone);
  EXPECT_NE(text(together[0]), alone);
}

TEST_P(CudaTrainRun, InterruptedAndResumedItEndsWithTheSameBits) {
  const RunConfig config = small_run(GetParam());
  const std::string undisturbed = text(train_run(config, on_gpu()));
  const TemporaryFolder folder;
  RunResult result;
  int processes = 0;
  do {
    TrainHooks hooks = on_gpu();
    hooks.checkpoint_directory = folder.path();
    hooks.stop_requested = [polls = 0]() mutable { return polls++ == 1; };
    result = train_run(config, hooks);
    ASSERT_LT(++processes, 50);
  } while (result.status == "interrupted");
  EXPECT_EQ(text(result), undisturbed);
  EXPECT_GT(processes, 2);
}

// Rounding differs, so do single answers: what is learned is the same.
TEST_P(CudaTrainRun, LearnsWhatTheCpuLearns) {
  const RunConfig config = small_run(GetParam(), {"train.max_epochs=6"});
  const RunResult gpu = train_run(config, on_gpu()), cpu = train_run(config, {});
  EXPECT_EQ(gpu.steps, cpu.steps);
  EXPECT_NEAR(gpu.test.accuracy, cpu.test.accuracy, 0.1);
  EXPECT_NEAR(gpu.test.loss, cpu.test.loss, 0.1);
}

INSTANTIATE_TEST_SUITE_P(Mixers, CudaTrainRun,
                         ::testing::Values("attention", "sliding_window", "based", "base_conv"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace recallbench
