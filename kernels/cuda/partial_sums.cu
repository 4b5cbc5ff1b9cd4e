// Floor: each part read once, from L2 where they were just written. 512 slices of 256 numbers are
// 0.5 MB: latency decides, so 32 warps read different slices of the same 32 columns. 44 slices of
// 49,536 numbers are 8.7 MB a replica: bandwidth decides, so threads read four columns at a time,
// and only 8 warps share them.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/partial_sums.h"

#include <functional>

namespace recallbench {
namespace {

constexpr Index kManyColumns = 4096;

__device__ void store(const Gradient<float>& to, Index replica, Index j, float sum) {
  if (!to.wanted) return;
  float* place = to.view.data + replica * to.view.replica_stride +
                 j / to.view.cols * to.view.stride + j % to.view.cols;
  *place = to.accumulate ? *place + sum : sum;
}

/// A block has 32 · kVec columns: warp w adds slices w, w + kWarps, ..., then the warps in order.
template <int kVec, int kWarps>
__global__ void __launch_bounds__(32 * kWarps) sum_partials(PartialSums p) {
  __shared__ float warps[kWarps][32 * kVec];
  const int lane = threadIdx.x, warp = threadIdx.y;
  const Index count = p.first_count + p.second_count, replica = blockIdx.y;
  const Index j = (blockIdx.x * Index{32} + lane) * kVec;
  float sum[kVec] = {};
  if (j < count) {
    const float* from = p.parts + replica * p.slices * count + j;
#pragma unroll 8
    for (Index s = warp; s < p.slices; s += kWarps) {
      float numbers[kVec];
      load_numbers(from + s * count, numbers);
#pragma unroll
      for (int k = 0; k < kVec; ++k)
        sum[k] += numbers[k];
    }
  }
  store_numbers(sum, &warps[warp][lane * kVec]);
  __syncthreads();
  const int mine = warp * 32 + lane;  // the column that this thread adds up
  const Index column = blockIdx.x * Index{32 * kVec} + mine;
  if (mine >= 32 * kVec || column >= count) return;
  float total = warps[0][mine];
#pragma unroll
  for (int k = 1; k < kWarps; ++k)
    total += warps[k][mine];
  if (column < p.first_count)
    store(p.first, replica, column, total);
  else
    store(p.second, replica, column - p.first_count, total);
}

template <int kVec, int kWarps>
void launch(const CudaCall& call, Index replicas, const PartialSums& sums) {
  const Index count = sums.first_count + sums.second_count;
  const dim3 blocks(static_cast<unsigned>((count + 32 * kVec - 1) / (32 * kVec)),
                    static_cast<unsigned>(replicas));
  sum_partials<kVec, kWarps><<<blocks, dim3(32, kWarps), 0, call.stream>>>(sums);
  cuda_check_launch("sum_partials");
}

/// Whether both lie in the same memory: an operation has read one tensor twice.
bool meet(const Gradient<float>& a, const Gradient<float>& b) {
  if (!a.wanted || !b.wanted) return false;
  const auto begins_within = [](const Batched<float>& x, const Batched<float>& y) {
    const float* end = y.data + (y.rows - 1) * y.stride + y.cols;
    return std::less_equal<>{}(y.data, x.data) && std::less<>{}(x.data, end);
  };
  return begins_within(a.view, b.view) || begins_within(b.view, a.view);
}

void launch(const CudaCall& call, Index replicas, const PartialSums& sums) {
  const Index count = sums.first_count + sums.second_count;
  const bool quads = count % 4 == 0 && reinterpret_cast<std::uintptr_t>(sums.parts) % 16 == 0;
  if (quads && count >= kManyColumns)
    launch<4, 8>(call, replicas, sums);
  else
    launch<1, 32>(call, replicas, sums);
}

}  // namespace

void sum_partials_cuda(const CudaCall& call, Index replicas, const PartialSums& sums) {
  if (!sums.first.wanted && !sums.second.wanted) return;
  if (!meet(sums.first, sums.second)) return launch(call, replicas, sums);
  PartialSums first = sums, second = sums;
  first.second = {};
  second.first = {};
  launch(call, replicas, first);
  launch(call, replicas, second);
}

}  // namespace recallbench
