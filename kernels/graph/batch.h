#pragma once

#include <cstdint>
#include <span>

#include "kernels/tensor/shape.h"

namespace recallbench {

/// One batch as operations see it: B examples of L tokens, n labelled positions in each (padded
/// with weight 0, position 0). Arrays are replica-major, in the memory of the graph's device;
/// `step` and what follows change from step to step, the sizes do not.
struct Batch {
  Index examples = 0, length = 0, labels = 0;  ///< B, L, n
  const std::int32_t* tokens = nullptr;        ///< [R, B, L]
  const std::int32_t* positions = nullptr;     ///< [R, B, n], within [0, L)
  const std::int32_t* targets = nullptr;       ///< [R, B, n], within [0, V)
  const float* weights = nullptr;              ///< [R, B, n]: 1, or 0 for padding
  std::uint32_t step = 0;                      ///< optimizer steps done before this one
  std::span<const std::uint64_t> seeds;        ///< [R]: keys of the random numbers
  /// The last two again in a GPU's memory, where the kernels of a captured step read them: its
  /// arguments never change.
  const std::uint32_t* device_step = nullptr;
  const std::uint64_t* device_seeds = nullptr;
};

}  // namespace recallbench
