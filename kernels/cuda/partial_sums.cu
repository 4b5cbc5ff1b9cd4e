// Floor: each part read once, from L2 where they were just written. 512 slices of 256 numbers are
// 0.5 MB: latency decides, so the slices fall into 32 shares. 44 slices of 49,536 numbers are
// 8.7 MB a replica: bandwidth decides, so threads read four columns at a time, and 8 shares do. In
// small models a launch (3 us) costs more than the sum, so one launch takes many sums.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"

#include <algorithm>

namespace recallbench {
namespace {

constexpr Index kManyColumns = 4096;
constexpr int kWarps = 8;
constexpr int kMostSums = 24;  // of a kernel, whose arguments have 4 KB

__device__ void store(const Gradient<float>& to, Index replica, Index j, float sum) {
  if (!to.wanted) return;
  float* place = to.view.data + replica * to.view.replica_stride +
                 j / to.view.cols * to.view.stride + j % to.view.cols;
  *place = to.accumulate ? *place + sum : sum;
}

/// Whether four columns can be read at a time, and are worth it.
__host__ __device__ bool by_quads(const PartialSums& p) {
  const Index count = p.first_count + p.second_count;
  return count >= kManyColumns && count % 4 == 0 &&
         reinterpret_cast<std::uintptr_t>(p.parts) % 16 == 0;
}

/// A block has 32 · kVec columns: share s adds slices s, s + kShares, ..., then the shares in
/// order. A warp has every eighth share.
template <int kVec, int kShares>
__device__ void sum_columns(const PartialSums& p, Index block, Index replica) {
  constexpr int kEach = kShares / kWarps, kRounds = 8 / kEach;  // loads under way
  __shared__ __align__(16) float shares[kShares][32 * kVec];
  const int lane = threadIdx.x, warp = threadIdx.y;
  const Index count = p.first_count + p.second_count, j = (block * 32 + lane) * kVec;
  float sum[kEach][kVec] = {};
  if (j < count) {
    const float* from = p.parts + replica * p.slices * count + j;
    for (Index first = warp; first < p.slices; first += kRounds * kShares) {
      float numbers[kRounds][kEach][kVec] = {};
#pragma unroll
      for (int n = 0; n < kRounds * kEach; ++n) {
        const Index slice = first + n * kWarps;
        if (slice < p.slices) load_numbers(from + slice * count, numbers[n / kEach][n % kEach]);
      }
#pragma unroll
      for (int n = 0; n < kRounds * kEach; ++n)
#pragma unroll
        for (int k = 0; k < kVec; ++k)
          sum[n % kEach][k] += numbers[n / kEach][n % kEach][k];
    }
  }
#pragma unroll
  for (int e = 0; e < kEach; ++e)
    store_numbers(sum[e], &shares[warp + e * kWarps][lane * kVec]);
  __syncthreads();
  const int mine = warp * 32 + lane;  // the column that this thread adds up
  const Index column = block * Index{32 * kVec} + mine;
  if (mine >= 32 * kVec || column >= count) return;
  float total = shares[0][mine];
#pragma unroll
  for (int k = 1; k < kShares; ++k)
    total += shares[k][mine];
  if (column < p.first_count)
    store(p.first, replica, column, total);
  else
    store(p.second, replica, column - p.first_count, total);
}

/// What a kernel adds up, and where the blocks of each begin.
template <int kMost>
struct Sums {
  PartialSums of[kMost];
  unsigned first_block[kMost];
  int count;
};

/// blockIdx.y is the replica.
template <int kMost>
__global__ void __launch_bounds__(32 * kWarps)
    sum_partials(const __grid_constant__ Sums<kMost> sums) {
  after_previous();
  int i = 0;
  while (i + 1 < sums.count && blockIdx.x >= sums.first_block[i + 1])
    ++i;
  const Index block = blockIdx.x - sums.first_block[i];
  if (by_quads(sums.of[i]))
    sum_columns<4, 8>(sums.of[i], block, blockIdx.y);
  else
    sum_columns<1, 32>(sums.of[i], block, blockIdx.y);
}

template <int kMost>
void launch(const CudaCall& call, Index replicas, std::span<const PartialSums> some) {
  Sums<kMost> sums{};
  unsigned blocks = 0;
  for (const PartialSums& p : some) {
    const Index columns = by_quads(p) ? 128 : 32, count = p.first_count + p.second_count;
    sums.of[sums.count] = p;
    sums.first_block[sums.count++] = blocks;
    blocks += static_cast<unsigned>((count + columns - 1) / columns);
  }
  cuda_launch("sum_partials", sum_partials<kMost>,
              {dim3(blocks, static_cast<unsigned>(replicas)), dim3(32, kWarps), 0, call.stream},
              sums);
}

bool may_wait(const Gradient<float>& g) {
  return !g.wanted || g.late;
}

}  // namespace

void sum_partials_cuda(const CudaCall& call, Index replicas, const PartialSums& sums) {
  if (!sums.first.wanted && !sums.second.wanted) return;
  if (call.late_sums != nullptr && may_wait(sums.first) && may_wait(sums.second)) {
    call.late_sums->push_back(sums);
    return;
  }
  launch<1>(call, replicas, {&sums, 1});
}

void sum_late_partials_cuda(const CudaCall& call, std::span<const PartialSums> sums) {
  while (!sums.empty()) {
    const auto some = sums.first(std::min<std::size_t>(sums.size(), kMostSums));
    const PartialSums& one = some[0];
    launch<kMostSums>(call, (one.first.wanted ? one.first : one.second).view.replicas, some);
    sums = sums.subspan(some.size());
  }
}

}  // namespace recallbench
