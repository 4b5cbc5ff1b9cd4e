// Data kept on disk are the data that are made; damage only costs the time to make them again.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>

#include "kernels/base/io/file_lock.h"
#include "kernels/base/io/temporary_folder.h"
#include "sweeps/config/recipe.h"
#include "sweeps/train/run_data.h"

namespace recallbench {
namespace {

namespace fs = std::filesystem;

RunConfig compat_run(const std::string& seed) {
  const std::string recipe = R"(
schema = 1
name = "small"
compat = "zoology"
[task]
batch_size = {train = 16, test = 50}
train = [{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4, num_examples = 70},
         {task = "mqar", vocab_size = 64, input_seq_len = 16, num_kv_pairs = 2, num_examples = 40}]
test = [{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4, num_examples = 60}]
[model]
vocab_size = 64
d_model = 16
layers = [{mixer = "identity"}]
[train]
max_epochs = 1
lr = 1e-2
)";
  return parse_recipe(recipe, "small.toml", {"seed=" + seed}).runs.at(0);
}

std::vector<std::int32_t> numbers(const RunData& data) {
  std::vector<std::int32_t> all;
  for (const auto* split : {&data.train, &data.valid, &data.test})
    for (const RunSegment& segment : *split) {
      const auto size = static_cast<std::size_t>(segment.data.size());
      const TaskShape& shape = segment.data.shape();
      std::vector<std::int32_t> tokens(size * static_cast<std::size_t>(shape.input_seq_len));
      std::vector<std::int32_t> positions(size *
                                          static_cast<std::size_t>(shape.labels_per_example));
      std::vector<std::int32_t> targets(positions.size());
      std::vector<float> weights(positions.size());
      segment.data.copy_batch(0, segment.data.size(), tokens.data(), positions.data(),
                              targets.data(), weights.data());
      for (const auto* part : {&tokens, &positions, &targets})
        all.insert(all.end(), part->begin(), part->end());
      for (const float weight : weights)
        all.push_back(static_cast<std::int32_t>(weight));
      for (const Slice& slice : segment.slices)
        all.push_back(static_cast<std::int32_t>(slice.value));
    }
  return all;
}

TEST(CompatData, MadeSideBySideIsWhatOneEngineOfFillersGives) {
  const RunConfig config = compat_run("1");
  const auto data_seed = static_cast<std::uint32_t>(config.task.data_seed);
  const CompatSeeds seeds = compat_segment_seeds(data_seed, 2, 1);
  std::mt19937 fillers(data_seed);
  RunData expected;
  const auto add = [&](const SegmentConfig& segment, std::uint32_t seed, RunData& to, bool train) {
    Options options("task 'mqar'", segment.options);
    const auto task = make_task(segment);
    const SegmentData made = builtin_tasks().find("mqar").generate_compat(options, seed, fillers,
                                                                          segment.num_examples, {});
    (train ? to.train : to.test).push_back({Dataset(task->shape(), made), task->slices(), 0.0});
  };
  add(config.task.train[0], seeds.train[0], expected, true);
  add(config.task.train[1], seeds.train[1], expected, true);
  add(config.task.test[0], seeds.test[0], expected, false);
  for (const int threads : {1, 3})
    EXPECT_EQ(numbers(make_run_data(config, threads)), numbers(expected)) << threads;
}

TEST(DataCache, HoldsTheDataThatAreMade) {
  const TemporaryFolder temporary;
  const std::string& folder = temporary.path();
  const RunConfig config = compat_run("1");
  const auto expected = numbers(make_run_data(config, 1));
  EXPECT_EQ(numbers(cached_run_data(config, 1, folder)), expected);  // made and kept
  const auto files = [&] {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".safetensors") found.push_back(entry.path());
    return found;
  };
  ASSERT_EQ(files().size(), 1u);
  const auto made = fs::last_write_time(files()[0]);
  EXPECT_EQ(numbers(cached_run_data(config, 1, folder)), expected);  // read
  // Under compat the seed of a run does not reach its data.
  EXPECT_EQ(numbers(cached_run_data(compat_run("2"), 1, folder)), expected);
  RunConfig batches = config;  // nor how they are taken
  batches.task.train_batch_size = 8;
  batches.task.test_batch_size = 5;
  batches.task.order = "shuffle_batches";
  EXPECT_EQ(numbers(cached_run_data(batches, 1, folder)), expected);
  ASSERT_EQ(files().size(), 1u);
  EXPECT_EQ(fs::last_write_time(files()[0]), made);

  fs::resize_file(files()[0], fs::file_size(files()[0]) - 1);
  EXPECT_EQ(numbers(cached_run_data(config, 1, folder)), expected);  // made again
  EXPECT_EQ(numbers(cached_run_data(config, 1, folder)), expected);
  std::ofstream(files()[0]) << "not one of ours";
  EXPECT_EQ(numbers(cached_run_data(config, 1, folder)), expected);
}

TEST(DataCache, IsNotNeeded) {
  const TemporaryFolder temporary;
  const RunConfig config = compat_run("1");
  const auto expected = numbers(make_run_data(config, 1));
  std::ofstream(temporary / "file") << "in its way";
  EXPECT_EQ(numbers(cached_run_data(config, 1, temporary / "file")), expected);
}

/// Another process' sweep is done and takes the folder away, while this one waits for a third.
TEST(DataCache, MayGoWhileOneWaitsForIt) {
  const TemporaryFolder temporary;
  const std::string cache = temporary / "cache";
  const RunConfig config = compat_run("1");
  const auto expected = numbers(cached_run_data(config, 1, cache));
  for (const auto& entry : fs::directory_iterator(cache))
    if (entry.path().extension() == ".safetensors") fs::remove(entry.path());
  const auto third = FileLock::try_lock(fs::directory_iterator(cache)->path().string());
  ASSERT_TRUE(third.has_value());
  auto waiting =
      std::async(std::launch::async, [&] { return numbers(cached_run_data(config, 1, cache)); });
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds(200)), std::future_status::timeout);
  fs::remove_all(cache);
  EXPECT_EQ(waiting.get(), expected);
}

TEST(DataCache, WhoWaitsForItEndsWhereHeIsAskedTo) {
  const TemporaryFolder temporary;
  const RunConfig config = compat_run("1");
  cached_run_data(config, 1, temporary.path());
  for (const auto& entry : fs::directory_iterator(temporary.path()))
    if (entry.path().extension() == ".safetensors") fs::remove(entry.path());
  const auto other = FileLock::try_lock(fs::directory_iterator(temporary.path())->path().string());
  ASSERT_TRUE(other.has_value());
  int asked = 0;
  EXPECT_THROW(cached_run_data(config, 1, temporary.path(), [&] { return ++asked == 3; }), Stopped);
}

TEST(DataCache, LeftoversOfDeadWritersGo) {
  const TemporaryFolder temporary;
  const std::string torn = temporary / ".data.safetensors.tmp.4000000";
  std::ofstream(torn) << "half";
  cached_run_data(compat_run("1"), 1, temporary.path());
  EXPECT_FALSE(fs::exists(torn));
}

}  // namespace
}  // namespace recallbench
