// Floor: bytes, at 4.5 TB/s on an H200, which a thread that writes four pieces of 16 bytes reaches.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/set_numbers.h"

namespace recallbench {
namespace {

constexpr int kThreads = 256, kEach = 4;

/// `count` pieces of kVec numbers a replica, `per_row` of them a row; blockIdx.y is the replica.
template <int kVec>
__global__ void __launch_bounds__(kThreads)
    set_numbers(Batched<float> to, float value, Index per_row, Index count) {
  after_previous();
  float values[kVec];
  for (float& each : values)
    each = value;
  const Index first = blockIdx.x * Index{kThreads} * kEach + threadIdx.x;
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const Index i = first + e * kThreads;
    if (i >= count) continue;
    const Index row = to.rows == 1 ? 0 : i / per_row;
    store_numbers(values, place_of(to, blockIdx.y, row, (i - row * per_row) * kVec));
  }
}

}  // namespace

void cuda_set_numbers(CudaStream stream, const Batched<float>& to, float value) {
  const Batched<float> rows = detail::is_flat(to) ? detail::flattened(to) : to;
  const int vec = in_quads(rows) ? 4 : 1;
  const Index per_row = rows.cols / vec, count = rows.rows * per_row;
  if (count == 0) return;
  constexpr Index kOfBlock = Index{kThreads} * kEach;
  const dim3 blocks(static_cast<unsigned>((count + kOfBlock - 1) / kOfBlock),
                    static_cast<unsigned>(rows.replicas));
  cuda_launch("set_numbers", vec == 4 ? set_numbers<4> : set_numbers<1>,
              {blocks, kThreads, 0, stream}, rows, value, per_row, count);
}

}  // namespace recallbench
