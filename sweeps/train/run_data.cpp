#include "sweeps/train/run_data.h"

#include <algorithm>
#include <optional>

#include "tasks/for_blocks.h"

namespace recallbench {
namespace {

Options options_of(const SegmentConfig& segment) {
  return Options("task '" + segment.task + "'", segment.options);
}

std::vector<RunSegment> native_segments(const std::vector<SegmentConfig>& configs,
                                        std::uint64_t seed, Split split, int threads,
                                        const StopRequested& stop) {
  std::vector<RunSegment> segments;
  for (const SegmentConfig& config : configs) {
    const auto task = make_task(config);
    const auto index = static_cast<std::uint32_t>(segments.size());
    segments.push_back(
        {Dataset(*task, segment_seed(seed, split, index), config.num_examples, threads, stop),
         task->slices(), task->chance()});
  }
  return segments;
}

/// Training and test segments as the reference makes them: one after the other, but only the engine
/// of fillers goes on from one to the next, and how far is known before.
RunData compat_data(const TaskConfig& task, int threads, const StopRequested& stop) {
  const auto data_seed = static_cast<std::uint32_t>(task.data_seed);
  const CompatSeeds seeds = compat_segment_seeds(data_seed, task.train.size(), task.test.size());
  struct Work {
    const SegmentConfig* config;
    std::uint32_t seed;
    std::mt19937 fillers;
    std::optional<RunSegment> made;
  };
  std::vector<Work> all;
  std::mt19937 fillers(data_seed);
  const auto add = [&](const SegmentConfig& config, std::uint32_t seed) {
    const TaskEntry& entry = builtin_tasks().find(config.task);
    if (!entry.generate_compat)
      fail(ErrorKind::usage, "data",
           "task '{}' has no reference to be compatible with; leave "
           "compat = \"zoology\" out",
           config.task);
    Options options = options_of(config);
    all.push_back({&config, seed, fillers, std::nullopt});
    fillers.discard(
        static_cast<unsigned long long>(entry.compat_filler_words(options, config.num_examples)));
  };
  for (std::size_t i = 0; i < task.train.size(); ++i)
    add(task.train[i], seeds.train[i]);
  for (std::size_t i = 0; i < task.test.size(); ++i)
    add(task.test[i], seeds.test[i]);
  for_blocks(static_cast<std::int64_t>(all.size()), threads, [&](std::int64_t block) {
    Work& work = all[static_cast<std::size_t>(block)];
    const auto made = make_task(*work.config);
    Options options = options_of(*work.config);
    work.made =
        RunSegment{Dataset(made->shape(), builtin_tasks()
                                              .find(work.config->task)
                                              .generate_compat(options, work.seed, work.fillers,
                                                               work.config->num_examples, stop)),
                   made->slices(), made->chance()};
  });
  RunData data;
  for (std::size_t i = 0; i < all.size(); ++i)
    (i < task.train.size() ? data.train : data.test).push_back(std::move(*all[i].made));
  return data;
}

}  // namespace

std::unique_ptr<Task> make_task(const SegmentConfig& segment) {
  Options options = options_of(segment);
  return builtin_tasks().find(segment.task).make(options);
}

std::string data_key(const RunConfig& config) {
  RunConfig key = config;
  key.train = {};
  key.precision = "fp32";
  key.model = {};
  key.model.zoology = config.model.zoology;
  const TaskConfig none;  // in what batches the data are taken, and in what order
  key.task.train_batch_size = none.train_batch_size;
  key.task.test_batch_size = none.test_batch_size;
  key.task.order = none.order;
  if (config.model.zoology) key.seed = 0;  // the reference's data follow data_seed alone
  return canonical_json(key);
}

RunData make_run_data(const RunConfig& config, int threads, const StopRequested& stop) {
  const TaskConfig& task = config.task;
  if (config.model.zoology) return compat_data(task, threads, stop);
  return {native_segments(task.train, config.seed, Split::train, threads, stop),
          native_segments(task.valid.empty() ? task.test : task.valid, task.test_seed, Split::valid,
                          threads, stop),
          native_segments(task.test, task.test_seed, Split::test, threads, stop)};
}

double chance_of(const std::vector<RunSegment>& segments) {
  double sum = 0, examples = 0;
  for (const RunSegment& segment : segments) {
    sum += segment.chance * static_cast<double>(segment.data.size());
    examples += static_cast<double>(segment.data.size());
  }
  return sum / examples;
}

std::int64_t longest_length(const std::vector<RunSegment>& segments) {
  std::int64_t longest = 0;
  for (const RunSegment& segment : segments)
    longest = std::max(longest, segment.data.shape().input_seq_len);
  return longest;
}

}  // namespace recallbench
