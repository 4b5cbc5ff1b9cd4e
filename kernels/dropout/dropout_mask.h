#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/tensor/shape.h"

namespace recallbench {

/// Which dropout mask: see dropout.h.
struct DropoutMask {
  std::uint64_t seed;
  std::uint32_t step, random_id;
  double p;
};

/// A word below it keeps its element.
inline std::uint32_t dropout_threshold(double p) {
  return static_cast<std::uint32_t>(std::min(std::floor((1 - p) * 0x1p32), 0x1p32 - 1));
}

/// scale[i] = 1 / (1 - p) where element first + i of the mask is kept, 0 where it is dropped;
/// i in [0, count). Elements number below 2^34.
template <class T>
void dropout_scales(const DropoutMask& mask, Index first, Index count, T* scale);

}  // namespace recallbench
