#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/options.h"
#include "tasks/task.h"

namespace recallbench::testing {

inline Values mqar_values(std::int64_t vocab_size, std::int64_t length, std::int64_t pairs,
                          double power_a = 0.01, const std::string& filler = "uniform",
                          std::int64_t passes = 1) {
  return {{"vocab_size", vocab_size}, {"input_seq_len", length}, {"num_kv_pairs", pairs},
          {"power_a", power_a},       {"filler", filler},        {"num_passes", passes}};
}

inline std::unique_ptr<Task> make_task(const std::string& name, const Values& values) {
  Options options("task '" + name + "'", values);
  std::unique_ptr<Task> task = builtin_tasks().find(name).make(options);
  options.finish();
  return task;
}

/// Inputs and labels [count, L] of examples [first, first + count).
struct Examples {
  std::int64_t length;
  std::vector<std::int32_t> inputs, labels;
  Examples(const Task& task, std::uint64_t seed, std::int64_t first, std::int64_t count)
      : length(task.shape().input_seq_len),
        inputs(static_cast<std::size_t>(count * length)),
        labels(inputs.size()) {
    task.generate(seed, first, count, inputs.data(), labels.data());
  }
  std::int64_t count() const { return static_cast<std::int64_t>(inputs.size()) / length; }
  std::span<const std::int32_t> input(std::int64_t e) const {
    return {inputs.data() + e * length, static_cast<std::size_t>(length)};
  }
  std::span<const std::int32_t> label(std::int64_t e) const {
    return {labels.data() + e * length, static_cast<std::size_t>(length)};
  }
};

/// Chance that a chi-square variable with `freedom` degrees of freedom exceeds `statistic`, by the
/// Wilson-Hilferty approximation; good to a few percent of the exponent for freedom >= 3.
inline double chi_square_tail(double statistic, double freedom) {
  const double spread = 2 / (9 * freedom);
  const double z = (std::cbrt(statistic / freedom) - (1 - spread)) / std::sqrt(spread);
  return 0.5 * std::erfc(z / std::sqrt(2.0));
}

/// The same for counts against expected counts; cells of equal index belong together.
inline double chi_square_p(const std::vector<double>& counts, const std::vector<double>& expected) {
  double statistic = 0;
  for (std::size_t i = 0; i < counts.size(); ++i)
    statistic += (counts[i] - expected[i]) * (counts[i] - expected[i]) / expected[i];
  return chi_square_tail(statistic, static_cast<double>(counts.size()) - 1);
}

inline std::uint64_t fnv1a(const std::vector<std::int32_t>& numbers,
                           std::uint64_t hash = 0xcbf29ce484222325u) {
  for (const std::int32_t x : numbers) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash ^= static_cast<std::uint32_t>(x) >> shift & 0xff;
      hash *= 0x100000001b3u;
    }
  }
  return hash;
}

}  // namespace recallbench::testing
