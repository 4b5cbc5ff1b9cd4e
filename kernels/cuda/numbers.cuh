#pragma once

// How a thread reads and writes the numbers of a view.

#include <cstdint>

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// `kVec` numbers that lie side by side: one access of 16 bytes where kVec is 4, of 8 where it
/// is 2.
template <int kVec>
__device__ inline void load_numbers(const float* from, float (&to)[kVec]) {
  if constexpr (kVec == 4) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  } else if constexpr (kVec == 2) {
    const float2 two = *reinterpret_cast<const float2*>(from);
    to[0] = two.x, to[1] = two.y;
  } else {
    for (int i = 0; i < kVec; ++i)
      to[i] = from[i];
  }
}

template <int kVec>
__device__ inline void store_numbers(const float (&from)[kVec], float* to) {
  if constexpr (kVec == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
  } else if constexpr (kVec == 2) {
    *reinterpret_cast<float2*>(to) = make_float2(from[0], from[1]);
  } else {
    for (int i = 0; i < kVec; ++i)
      to[i] = from[i];
  }
}

/// The same, or added to what is there.
template <int kVec>
__device__ inline void write_numbers(const float (&from)[kVec], bool accumulate, float* to) {
  if (!accumulate) return store_numbers(from, to);
  float sum[kVec];
  load_numbers(to, sum);
#pragma unroll
  for (int k = 0; k < kVec; ++k)
    sum[k] += from[k];
  store_numbers(sum, to);
}

/// A number of a view, or where some that lie side by side begin.
__device__ inline float* place_of(const Batched<float>& v, Index replica, Index row,
                                  Index col = 0) {
  return v.data + replica * v.replica_stride + row * v.stride + col;
}

/// A gradient's numbers from that place on, where it is wanted.
template <int kVec>
__device__ inline void write_gradient(const Gradient<float>& to, Index replica, Index row,
                                      Index col, const float (&values)[kVec]) {
  if (to.wanted) write_numbers(values, to.accumulate, place_of(to.view, replica, row, col));
}
/// One number, summed as it comes: in double where it is one.
template <class T>
__device__ inline void write_gradient(const Gradient<float>& to, Index replica, Index row,
                                      Index col, T value) {
  if (!to.wanted) return;
  float* const place = place_of(to.view, replica, row, col);
  *place = static_cast<float>(to.accumulate ? *place + value : value);
}

/// Whether every row of the view can be read in pieces of four numbers. An empty view can.
inline bool in_quads(const Batched<float>& v) {
  return v.data == nullptr || (reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0 &&
                               v.cols % 4 == 0 && v.stride % 4 == 0 && v.replica_stride % 4 == 0);
}

__device__ inline float sigmoid(float x) {
  return 1.0f / (1.0f + expf(-x));
}

}  // namespace recallbench
