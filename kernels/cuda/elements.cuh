#pragma once

// Kernels that compute each number of y from the numbers at the same place of a and b.

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/numbers.cuh"
#include "kernels/tensor/matrix.h"

namespace recallbench {

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
