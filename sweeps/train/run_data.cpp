#include "sweeps/train/run_data.h"

#include <algorithm>

namespace recallbench {
namespace {

Options options_of(const SegmentConfig& segment) {
  return Options("task '" + segment.task + "'", segment.options);
}

std::vector<RunSegment> native_segments(const std::vector<SegmentConfig>& configs,
                                        std::uint64_t seed, Split split, int threads) {
  std::vector<RunSegment> segments;
  for (const SegmentConfig& config : configs) {
    const auto task = make_task(config);
    const auto index = static_cast<std::uint32_t>(segments.size());
    segments.push_back(
        {Dataset(*task, segment_seed(seed, split, index), config.num_examples, threads),
         task->slices(), task->chance()});
  }
  return segments;
}

std::vector<RunSegment> compat_segments(const std::vector<SegmentConfig>& configs,
                                        const std::vector<std::uint32_t>& seeds,
                                        std::mt19937& fillers) {
  std::vector<RunSegment> segments;
  for (std::size_t i = 0; i < configs.size(); ++i) {
    const TaskEntry& entry = builtin_tasks().find(configs[i].task);
    if (!entry.generate_compat)
      fail(ErrorKind::usage, "data",
           "task '{}' has no reference to be compatible with; leave "
           "compat = \"zoology\" out",
           configs[i].task);
    Options options = options_of(configs[i]), again = options_of(configs[i]);
    const auto task = entry.make(options);
    segments.push_back({Dataset(task->shape(), entry.generate_compat(again, seeds[i], fillers,
                                                                     configs[i].num_examples)),
                        task->slices(), task->chance()});
  }
  return segments;
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
  if (config.model.zoology) key.seed = 0;  // the reference's data follow data_seed alone
  return canonical_json(key);
}

RunData make_run_data(const RunConfig& config, int threads) {
  const TaskConfig& task = config.task;
  if (config.model.zoology) {
    const auto data_seed = static_cast<std::uint32_t>(task.data_seed);
    const CompatSeeds seeds = compat_segment_seeds(data_seed, task.train.size(), task.test.size());
    std::mt19937 fillers(data_seed);
    RunData data;
    data.train = compat_segments(task.train, seeds.train, fillers);
    data.test = compat_segments(task.test, seeds.test, fillers);
    return data;
  }
  return {native_segments(task.train, config.seed, Split::train, threads),
          native_segments(task.valid.empty() ? task.test : task.valid, task.test_seed, Split::valid,
                          threads),
          native_segments(task.test, task.test_seed, Split::test, threads)};
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
