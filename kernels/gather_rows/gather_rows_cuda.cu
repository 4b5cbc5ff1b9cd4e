// Floor: forward reads and writes the labelled rows alone. Backward writes all of dx once (B = 256,
// L = 256, D = 128: 34 MB, 8 us), or reads and writes the labelled rows where it adds.
//
// A warp owns a row of dx, finds the labels that name it by ballots over the example's positions
// (in L1), and adds their rows in order: no atomics, and no pass that zeroes dx first.
#include "kernels/cuda/elements.cuh"
#include "kernels/gather_rows/gather_rows_cuda.h"

namespace recallbench {
namespace {

constexpr int kWarps = 8;  // of a block: a row each

template <int kVec>
__global__ void gather(const std::int32_t* positions, Index length, Index labels, Batched<float> x,
                       Batched<float> y) {
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

template <int kVec>
__global__ void scatter(const std::int32_t* positions, Index length, Index labels,
                        Batched<float> dy, Batched<float> dx, bool accumulate) {
  const Index row = blockIdx.x * Index{kWarps} + threadIdx.y, replica = blockIdx.y;
  if (row >= dx.rows) return;  // a whole warp
  const Index example = row / length;
  const int t = static_cast<int>(row % length), lane = threadIdx.x;
  const std::int32_t* of_example = positions + replica * dy.rows + example * labels;
  const float* from = dy.data + replica * dy.replica_stride + example * labels * dy.stride;
  float* to = dx.data + replica * dx.replica_stride + row * dx.stride;
  for (Index first = 0; first < dx.cols; first += 32 * kVec) {
    const Index j = first + lane * kVec;
    bool named = false;
    float sum[kVec] = {};
    for (Index label = 0; label < labels; label += 32) {
      const bool here = label + lane < labels && of_example[label + lane] == t;
      unsigned found = __ballot_sync(0xffffffffu, here);
      named = named || found != 0;
      for (; found != 0; found &= found - 1) {
        const Index i = label + __ffs(static_cast<int>(found)) - 1;
        if (j >= dx.cols) continue;
        float numbers[kVec];
        load_numbers(from + i * dy.stride + j, numbers);
#pragma unroll
        for (int k = 0; k < kVec; ++k)
          sum[k] += numbers[k];
      }
    }
    if (j >= dx.cols || (accumulate && !named)) continue;
    if (accumulate) {
      float before[kVec];
      load_numbers(to + j, before);
#pragma unroll
      for (int k = 0; k < kVec; ++k)
        sum[k] += before[k];
    }
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
  kernel<<<blocks_of(y), dim3(32, kWarps), 0, call.stream>>>(positions, length, labels, x, y);
  cuda_check_launch("gather_rows");
}

void gather_rows_backward_cuda(const CudaCall& call, const std::int32_t* positions, Index length,
                               Index labels, const Batched<float>& dy, const Gradient<float>& dx) {
  if (!dx.wanted) return;
  const auto kernel = in_quads(dy) && in_quads(dx.view) ? scatter<4> : scatter<1>;
  kernel<<<blocks_of(dx.view), dim3(32, kWarps), 0, call.stream>>>(positions, length, labels, dy,
                                                                   dx.view, dx.accumulate);
  cuda_check_launch("gather_rows_backward");
}

}  // namespace recallbench
