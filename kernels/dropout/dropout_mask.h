#pragma once

#include <cstdint>

#include "kernels/tensor/shape.h"

namespace recallbench {

/// Which dropout mask: see dropout.h.
struct DropoutMask {
  std::uint64_t seed;
  std::uint32_t step, random_id;
  double p;
};

/// scale[i] = 1 / (1 - p) where element first + i of the mask is kept, 0 where it is dropped;
/// i in [0, count). Elements number below 2^34.
template <class T>
void dropout_scales(const DropoutMask& mask, Index first, Index count, T* scale);

}  // namespace recallbench
