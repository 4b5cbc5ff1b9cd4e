#include "sweeps/run/schedule.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace recallbench {
namespace {

// What a training step of R runs took on an H200 (results/measured/based-figure2, four models, R of
// 1, 4 and 12, batches of 32 x 32 to 256 x 256 tokens): kGpuStepMs + R w, with w about the step's
// floating-point operations, as estimated here, at kStepRate. More runs share the fixed part,
// until it is kFixedShare of the whole or kMostRuns, the most that was measured, train together:
// a population wastes more than a run when it is stopped or crashes. kLeastRuns gained an eighth
// in the longest step measured.
constexpr double kStepRate = 2e11;  // a millisecond
constexpr double kFixedShare = 0.05;
constexpr std::int64_t kLeastRuns = 4, kMostRuns = 12;

/// Length taken for tasks that have no `input_seq_len` (a user's own files).
constexpr double kUnknownLength = 256;

double option_or(const Values& options, const std::string& key, double fallback) {
  const auto found = options.find(key);
  if (found == options.end()) return fallback;
  const auto* value = std::get_if<std::int64_t>(&found->second);
  return value != nullptr ? static_cast<double>(*value) : fallback;
}

double segment_work(const ModelConfig& model, const SegmentConfig& segment) {
  const double d = static_cast<double>(model.d_model);
  const double length = option_or(segment.options, "input_seq_len", kUnknownLength);
  const double labels = option_or(segment.options, "num_kv_pairs", length / 4);
  const double layers = static_cast<double>(model.n_layers) * (12 * d * d + 2 * d * length) * 2;
  const double head = labels * 2 * d * static_cast<double>(model.vocab_size);
  return static_cast<double>(segment.num_examples) * (length * layers + head);
}

double forward_work(const ModelConfig& model, const std::vector<SegmentConfig>& segments) {
  double work = 0;
  for (const SegmentConfig& segment : segments)
    work += segment_work(model, segment);
  return work;
}

/// Of an epoch's training, forward and backward.
double epoch_work(const RunConfig& config) {
  return 3 * forward_work(config.model, config.task.train);
}

}  // namespace

double estimated_work(const RunConfig& config) {
  const TaskConfig& task = config.task;
  const double test = forward_work(config.model, task.test);
  const double valid = task.valid.empty() ? test : forward_work(config.model, task.valid);
  const double epoch = epoch_work(config) + valid;
  const bool is_tested = !config.model.zoology;  // there validation is on test data
  return epoch * static_cast<double>(config.train.max_epochs) + (is_tested ? test : 0);
}

std::int64_t population_size(const RunConfig& config, Device device) {
  if (device == Device::cpu) return 1;
  double examples = 0;
  for (const SegmentConfig& segment : config.task.train)
    examples += static_cast<double>(segment.num_examples);
  const double batch = static_cast<double>(config.task.train_batch_size);
  const double step_ms = epoch_work(config) / kStepRate * batch / std::max(examples, batch);
  const double runs = kGpuStepMs * (1 - kFixedShare) / kFixedShare / step_ms;
  return static_cast<std::int64_t>(
      std::clamp(std::ceil(runs), double{kLeastRuns}, double{kMostRuns}));
}

std::vector<std::size_t> longest_first(const std::vector<double>& work) {
  std::vector<std::size_t> order(work.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return work[a] > work[b]; });
  return order;
}

int threads_for_next(int free_cores, std::int64_t waiting) {
  if (waiting >= free_cores) return 1;
  return static_cast<int>((free_cores + waiting - 1) / waiting);
}

}  // namespace recallbench
