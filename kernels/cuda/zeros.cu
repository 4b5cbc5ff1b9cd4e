// Floor: bytes, at 4.5 TB/s on an H200, which a thread that writes four pieces of 16 bytes reaches.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/zeros.h"

namespace recallbench {
namespace {

constexpr int kThreads = 256, kEach = 4;

/// `count` pieces of kVec numbers a replica, `per_row` of them a row; blockIdx.y is the replica.
template <int kVec>
__global__ void __launch_bounds__(kThreads) zeros(Batched<float> to, Index per_row, Index count) {
  after_previous();
  const float zero[kVec] = {};
  const Index first = blockIdx.x * Index{kThreads} * kEach + threadIdx.x;
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const Index i = first + e * kThreads;
    if (i >= count) continue;
    const Index row = to.rows == 1 ? 0 : i / per_row;
    store_numbers(zero, place_of(to, blockIdx.y, row, (i - row * per_row) * kVec));
  }
}

}  // namespace

void cuda_zeros(CudaStream stream, const Batched<float>& to) {
  const Batched<float> rows = detail::is_flat(to) ? detail::flattened(to) : to;
  const int vec = in_quads(rows) ? 4 : 1;
  const Index per_row = rows.cols / vec, count = rows.rows * per_row;
  if (count == 0) return;
  constexpr Index kOfBlock = Index{kThreads} * kEach;
  const dim3 blocks(static_cast<unsigned>((count + kOfBlock - 1) / kOfBlock),
                    static_cast<unsigned>(rows.replicas));
  cuda_launch("zeros", vec == 4 ? zeros<4> : zeros<1>, {blocks, kThreads, 0, stream}, rows, per_row,
              count);
}

}  // namespace recallbench
