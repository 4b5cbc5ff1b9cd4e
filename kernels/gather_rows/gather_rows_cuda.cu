// Floor: forward reads and writes the labelled rows alone. Backward reads and writes the labelled
// rows, and where it does not add writes zeros to all of dx first (B = 256, L = 256, D = 128: 34
// MB, 8 us at 4.3 TB/s, which a fill reaches).
//
// Backward: a warp owns a label, and the first that names a row adds all of them in order. No
// atomics.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/set_numbers.h"
#include "kernels/gather_rows/gather_rows_cuda.h"

namespace recallbench {
namespace {

constexpr int kWarps = 8;  // of a block: a row each

template <int kVec>
__global__ void gather(const std::int32_t* positions, Index length, Index labels, Batched<float> x,
                       Batched<float> y) {
  after_previous();
  const Index i = blockIdx.x * Index{kWarps} + threadIdx.y, replica = blockIdx.y;
  if (i >= y.rows) return;
  const Index row = i / labels * length + positions[replica * y.rows + i];
  const float* from = x.data + replica * x.replica_stride + row * x.stride;
  float* to = y.data + replica * y.replica_stride + i * y.stride;
  for (Index j = threadIdx.x * kVec; j < y.cols; j += 32 * kVec) {
    float numbers[kVec];
    load_numbers(from + j, numbers);
    store_numbers(numbers, to + j);
  }
}

/// sum += the rows of dy, from label `from` on, whose position is t, in order. All lanes of a warp
/// together, each for its own columns (those from j, where it has any).
template <int kVec>
__device__ void sum_labels(const std::int32_t* positions, Index from, Index labels, int t,
                           const float* dy, Index stride, bool has_columns, float (&sum)[kVec]) {
  for (Index first = from / 32 * 32; first < labels; first += 32) {
    const Index label = first + threadIdx.x;
    const bool here = label >= from && label < labels && positions[label] == t;
    unsigned found = __ballot_sync(0xffffffffu, here);
    for (; found != 0; found &= found - 1) {
      const Index i = first + __ffs(static_cast<int>(found)) - 1;
      if (!has_columns) continue;
      float numbers[kVec];
      load_numbers(dy + i * stride, numbers);
#pragma unroll
      for (int k = 0; k < kVec; ++k)
        sum[k] += numbers[k];
    }
  }
}

/// dx += the sums.
template <int kVec>
__global__ void scatter_add(const std::int32_t* positions, Index length, Index labels,
                            Batched<float> dy, Batched<float> dx) {
  after_previous();
  const Index i = blockIdx.x * Index{kWarps} + threadIdx.y, replica = blockIdx.y;
  if (i >= dy.rows) return;  // a whole warp
  const Index example = i / labels, label = i % labels;
  const std::int32_t* of_example = positions + replica * dy.rows + example * labels;
  const int t = of_example[label];
  for (Index first = 0; first < label; first += 32) {
    const Index earlier = first + threadIdx.x;
    if (__any_sync(0xffffffffu, earlier < label && of_example[earlier] == t)) return;
  }
  const float* from = dy.data + replica * dy.replica_stride + example * labels * dy.stride;
  float* to = dx.data + replica * dx.replica_stride + (example * length + t) * dx.stride;
  for (Index j = threadIdx.x * kVec; j - threadIdx.x * kVec < dx.cols; j += 32 * kVec) {
    float sum[kVec] = {}, before[kVec];
    sum_labels<kVec>(of_example, label, labels, t, from + j, dy.stride, j < dx.cols, sum);
    if (j >= dx.cols) continue;
    load_numbers(to + j, before);
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      sum[k] += before[k];
    store_numbers(sum, to + j);
  }
}

dim3 blocks_of(const Batched<float>& rows) {
  return dim3(static_cast<unsigned>((rows.rows + kWarps - 1) / kWarps),
              static_cast<unsigned>(rows.replicas));
}

}  // namespace

void gather_rows_cuda(const CudaCall& call, const std::int32_t* positions, Index length,
                      Index labels, const Batched<float>& x, const Batched<float>& y) {
  const auto kernel = in_quads(x) && in_quads(y) ? gather<4> : gather<1>;
  cuda_launch("gather_rows", kernel, {blocks_of(y), dim3(32, kWarps), 0, call.stream}, positions,
              length, labels, x, y);
}

void gather_rows_backward_cuda(const CudaCall& call, const std::int32_t* positions, Index length,
                               Index labels, const Batched<float>& dy, const Gradient<float>& dx) {
  if (!dx.wanted) return;
  if (!dx.accumulate) cuda_set_numbers(call.stream, dx.view, 0);
  const auto kernel = in_quads(dy) && in_quads(dx.view) ? scatter_add<4> : scatter_add<1>;
  cuda_launch("gather_rows_backward", kernel, {blocks_of(dy), dim3(32, kWarps), 0, call.stream},
              positions, length, labels, dy, dx.view);
}

}  // namespace recallbench
