#pragma once

// Kernels that compute each number of y from the numbers at the same place of a and b.

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/cuda/launch.cuh"
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

/// Where `kVec` numbers of a view begin.
__device__ inline float* place_of(const Batched<float>& v, Index replica, Index row, Index col) {
  return v.data + replica * v.replica_stride + row * v.stride + col;
}

/// Whether every row of the view can be read in pieces of four numbers. An empty view can.
inline bool in_quads(const Batched<float>& v) {
  return v.data == nullptr || (reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0 &&
                               v.cols % 4 == 0 && v.stride % 4 == 0 && v.replica_stride % 4 == 0);
}

namespace detail {

/// Rows lie side by side: the view is one long row.
inline bool is_flat(const Batched<float>& v) {
  return v.data == nullptr || v.rows == 1 || v.stride == v.cols;
}
inline Batched<float> flattened(const Batched<float>& v) {
  return {v.data, v.replicas, 1, v.rows * v.cols, v.rows * v.cols, v.replica_stride};
}

/// A thread computes `kVec` numbers of a row; blockIdx.y is the replica.
template <int kVec, class F>
__global__ void map_elements(Batched<float> a, Batched<float> b, Batched<float> y, bool accumulate,
                             std::uint32_t per_row, std::uint32_t count, F f) {
  after_previous();
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const Index replica = blockIdx.y;
  const Index row = i / per_row, col = Index{i % per_row} * kVec;
  float as[kVec], bs[kVec] = {}, ys[kVec];
  load_numbers(place_of(a, replica, row, col), as);
  if (b.data != nullptr) load_numbers(place_of(b, replica, row, col), bs);
  f(static_cast<int>(replica), Index{i} * kVec, as, bs, ys);
  write_numbers(ys, accumulate, place_of(y, replica, row, col));
}

}  // namespace detail

/// y = f(a, b), or y += that; b may be empty. Views of one shape; y may be a or b. `f` is called as
/// f(replica, element, a[kVec], b[kVec], y[kVec]) for kVec of 4 and 1, where `element` counts the
/// numbers of a replica row after row and is a multiple of kVec.
template <class F>
void map_elements_cuda(const CudaCall& call, const char* name, Batched<float> a, Batched<float> b,
                       const Gradient<float>& to, const F& f) {
  if (!to.wanted) return;
  Batched<float> y = to.view;
  if (detail::is_flat(a) && detail::is_flat(b) && detail::is_flat(y)) {
    a = detail::flattened(a);
    b = detail::flattened(b);
    y = detail::flattened(y);
  }
  const bool quads = in_quads(a) && in_quads(b) && in_quads(y);
  const Index per_row = quads ? y.cols / 4 : y.cols, count = y.rows * per_row;
  check(count < Index{1} << 31, name, "more numbers than a GPU kernel counts");
  if (count == 0) return;
  constexpr unsigned kThreads = 256;
  const dim3 blocks(static_cast<unsigned>((count + kThreads - 1) / kThreads),
                    static_cast<unsigned>(y.replicas));
  const auto kernel = quads ? detail::map_elements<4, F> : detail::map_elements<1, F>;
  cuda_launch(name, kernel, {blocks, kThreads, 0, call.stream}, a, b, y, to.accumulate,
              static_cast<std::uint32_t>(per_row), static_cast<std::uint32_t>(count), f);
}

}  // namespace recallbench
