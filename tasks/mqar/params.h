#pragma once

#include <cstdint>
#include <random>

#include "kernels/base/options.h"
#include "tasks/task.h"

namespace recallbench {

/// What stands in the query part of a sequence where no query does.
enum class Filler {
  zero,          ///< token 0
  uniform,       ///< any token of [0, V), this example's keys too
  no_collision,  ///< any token of [0, V) but this example's keys
};

/// Parameters of multi-query associative recall that obey all its rules.
struct MqarParams {
  std::int64_t vocab_size;     ///< V
  std::int64_t input_seq_len;  ///< L
  std::int64_t num_kv_pairs;   ///< n
  std::int64_t num_passes;     ///< p: how often the pairs are shown
  double power_a;
  Filler filler;

  std::int64_t num_keys() const { return vocab_size / 2 - 1; }  ///< ids 1, 2, ...
  std::int64_t first_value() const { return vocab_size / 2; }
  std::int64_t num_values() const { return vocab_size - first_value(); }
  std::int64_t context() const { return 2 * num_kv_pairs * num_passes; }  ///< tokens
  std::int64_t slots() const { return (input_seq_len - context()) / 2; }  ///< places for a query
};

/// Reads and checks the parameters; throws Error(usage) naming parameter, value and broken rule.
MqarParams read_mqar_params(Options& options);

/// The segment as the public reference generates it, bit for bit: all keys, then all values, then
/// all slots from one Mersenne Twister, so that every example depends on num_examples. Random
/// fillers take one word of `fillers` for every token of the segment. Throws Stopped.
SegmentData generate_mqar_compat(const MqarParams& params, std::uint32_t seed,
                                 std::mt19937& fillers, std::int64_t num_examples,
                                 const StopRequested& stop);

}  // namespace recallbench
