#include "sweeps/run/schedule.h"

#include <algorithm>
#include <numeric>

namespace recallbench {
namespace {

// On an H200, at batch 256 and d 64 to 128, four runs together take 0.65 to 0.72 of the time that
// they take one after another at 64 tokens, 0.82 to 0.86 at 256; twelve a tenth less than that
// (results/measured/based-figure2). Four keep what a stopped run wastes, and what a crash costs,
// low.
constexpr std::int64_t kGpuPopulation = 4;

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

}  // namespace

double estimated_work(const RunConfig& config) {
  double forward = 0;
  for (const SegmentConfig& segment : config.task.train)
    forward += 3 * segment_work(config.model, segment);
  for (const SegmentConfig& segment : config.task.valid)
    forward += segment_work(config.model, segment);
  return forward * static_cast<double>(config.train.max_epochs);
}

std::int64_t population_size(const RunConfig&, Device device) {
  return device == Device::cpu ? 1 : kGpuPopulation;
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
