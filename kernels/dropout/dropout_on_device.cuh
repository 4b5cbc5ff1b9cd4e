#pragma once

#include "kernels/cuda/call.h"
#include "kernels/cuda/philox.cuh"
#include "kernels/dropout/dropout_mask.h"

namespace recallbench {

/// The mask of the random operation `random_id` for kernels; p = 0 drops nothing.
inline DropoutOnDevice dropout_on_device(const CudaCall& call, std::uint32_t random_id, double p) {
  if (p == 0) return {};
  return {call.seeds, call.step, random_id, dropout_threshold(p), static_cast<float>(1 / (1 - p))};
}

/// Scales of the elements element ... element + kVec - 1 of a replica's mask; kVec is 4 or 1, and
/// divides `element`.
template <int kVec>
__device__ inline void dropout_scales(const DropoutOnDevice& mask, int replica, Index element,
                                      float (&scales)[kVec]) {
  if (mask.seeds == nullptr) {
    for (float& scale : scales)
      scale = 1;
  } else if constexpr (kVec == 4) {
    const float4 four = dropout_scales(mask, replica, static_cast<std::uint32_t>(element / 4));
    scales[0] = four.x, scales[1] = four.y, scales[2] = four.z, scales[3] = four.w;
  } else {
    scales[0] = dropout_scale(mask, replica, static_cast<std::uint64_t>(element));
  }
}

}  // namespace recallbench
