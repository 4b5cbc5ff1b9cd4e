#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sweeps/config/run_config.h"
#include "tasks/dataset.h"
#include "tasks/segment.h"

namespace recallbench {

/// One segment's examples in memory.
struct RunSegment {
  Dataset data;
  std::vector<Slice> slices;
  double chance;
};

/// All data of one run. Under compat there is no `valid`: validation and test are one.
struct RunData {
  std::vector<RunSegment> train, valid, test;
};

/// Generates the data of a run with `threads` threads. Natively, training data follow `seed`,
/// validation and test data `task.test_seed`; an empty `valid` means the test segments from a
/// stream of their own. Under compat all follow `task.data_seed` as in the reference. Throws
/// Stopped within a second of its being asked for.
RunData make_run_data(const RunConfig& config, int threads, const StopRequested& stop = {});

/// The same. Data that take long to make, those of the reference, are kept in `cache` (a folder;
/// "" for none) and shared by the processes that use it: one makes them, the others wait.
RunData cached_run_data(const RunConfig& config, int threads, const std::string& cache,
                        const StopRequested& stop = {});

/// What decides the data of a run, as text.
std::string data_key(const RunConfig& config);

/// The task of a segment.
std::unique_ptr<Task> make_task(const SegmentConfig& segment);

/// Mean chance over all test examples.
double chance_of(const std::vector<RunSegment>& segments);
/// Longest length among the segments.
std::int64_t longest_length(const std::vector<RunSegment>& segments);

}  // namespace recallbench
