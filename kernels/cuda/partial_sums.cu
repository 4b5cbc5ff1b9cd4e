// Floor: each part read once, from L2 where they were just written: 512 slices of 256 numbers are
// 0.5 MB. Latency decides, so 32 warps read different slices of the same 32 columns.
#include "kernels/cuda/partial_sums.h"

#include <functional>

namespace recallbench {
namespace {

constexpr int kColumns = 32;  // of a block: one a lane
constexpr int kWarps = 32;

__device__ void store(const Gradient<float>& to, Index replica, Index j, float sum) {
  if (!to.wanted) return;
  float* place = to.view.data + replica * to.view.replica_stride +
                 j / to.view.cols * to.view.stride + j % to.view.cols;
  *place = to.accumulate ? *place + sum : sum;
}

__global__ void __launch_bounds__(kColumns* kWarps) sum_partials(PartialSums p) {
  __shared__ float warps[kWarps][kColumns];
  const int lane = threadIdx.x, warp = threadIdx.y;
  const Index count = p.first_count + p.second_count, replica = blockIdx.y;
  const Index j = blockIdx.x * Index{kColumns} + lane;
  float sum = 0;
  if (j < count) {
    const float* from = p.parts + replica * p.slices * count + j;
#pragma unroll 8
    for (Index s = warp; s < p.slices; s += kWarps)
      sum += from[s * count];
  }
  warps[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || j >= count) return;
#pragma unroll
  for (int k = 1; k < kWarps; ++k)
    sum += warps[k][lane];
  if (j < p.first_count)
    store(p.first, replica, j, sum);
  else
    store(p.second, replica, j - p.first_count, sum);
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
  const dim3 blocks(static_cast<unsigned>((count + kColumns - 1) / kColumns),
                    static_cast<unsigned>(replicas));
  sum_partials<<<blocks, dim3(kColumns, kWarps), 0, call.stream>>>(sums);
  cuda_check_launch("sum_partials");
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
