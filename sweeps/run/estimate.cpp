#include "sweeps/run/estimate.h"

#include <algorithm>

#include "sweeps/run/running.h"
#include "sweeps/run/schedule.h"

namespace recallbench {
namespace {

/// What a second of one core does of the operations that estimated_work counts: 1.3e11 to 3.5e11 in
/// training demo, based-figure2-small and runs of based-figure2 and feature-maps, every epoch of
/// them, on an EPYC with AVX-512. estimated_work counts some that no mixer does, so this is more
/// than the core's arithmetic.
constexpr double kCoreOperations = 2e11;

/// The same of an H200 by tf32, beside kGpuStepMs for every step of a population. With both, an
/// epoch of 52 of the 55 models of results/measured/training-steps, trained four together,
/// takes 0.52 (attention, windows, d 128) to 1.99 of the estimate, three of Mamba 2.16 to 2.86; all
/// of them take 0.90.
constexpr double kGpuOperations = 1.7e14;

double operations_of(const std::vector<RunConfig>& runs) {
  double sum = 0;
  for (const RunConfig& run : runs)
    sum += estimated_work(run);
  return sum;
}

double steps_of(const RunConfig& run) {
  std::int64_t steps = 0;
  for (const SegmentConfig& segment : run.task.train)
    steps += (segment.num_examples + run.task.train_batch_size - 1) / run.task.train_batch_size;
  return static_cast<double>(steps) * static_cast<double>(run.train.max_epochs);
}

}  // namespace

Estimate estimate_on_cores(const std::vector<RunConfig>& runs, int cores) {
  Estimate estimate;
  estimate.operations = operations_of(runs);
  estimate.seconds = estimate.operations / kCoreOperations / cores;
  estimate.where = fmt::format("on {} core{}", cores, cores == 1 ? "" : "s");
  return estimate;
}

Estimate estimate_on_gpus(const std::vector<RunConfig>& runs, int gpus,
                          const std::function<std::int64_t(const RunConfig&)>& population) {
  std::vector<Job> jobs;
  for (const RunConfig& run : runs)
    jobs.push_back({&run, "", "", estimated_work(run)});
  std::vector<const Job*> listed;
  for (const Job& job : jobs)
    listed.push_back(&job);
  double sum = 0, longest = 0;
  for (const Group& group : make_groups(listed, population)) {
    double seconds = steps_of(*group.front()->config) * kGpuStepMs / 1000;
    for (const Job* job : group)
      seconds += job->work / kGpuOperations;
    sum += seconds;
    longest = std::max(longest, seconds);
  }
  Estimate estimate;
  estimate.operations = operations_of(runs);
  estimate.seconds = std::max(sum / gpus, longest);
  estimate.where =
      gpus == 1 ? "on a GPU such as the H200" : fmt::format("on {} GPUs such as the H200", gpus);
  return estimate;
}

}  // namespace recallbench
