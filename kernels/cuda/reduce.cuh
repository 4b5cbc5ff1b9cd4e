#pragma once

// Sums and maxima whose order is fixed by shapes alone: lane trees, then a tree over warps.

namespace recallbench {

/// Every lane gets the sum over its `Width` neighbours (a power of two, at most 32).
template <int Width = 32>
__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int offset = Width / 2; offset > 0; offset /= 2)
    x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

template <int Width = 32>
__device__ inline float warp_max(float x) {
#pragma unroll
  for (int offset = Width / 2; offset > 0; offset /= 2)
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}

/// Every thread gets the sum over a block of `Threads` (a multiple of 32); `shared` holds
/// Threads / 32 numbers and may be used again after the call.
template <int Threads>
__device__ inline float block_sum(float x, float* shared) {
  constexpr int kWarps = Threads / 32;
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kWarps; ++i)
    sum += shared[i];
  __syncthreads();
  return sum;
}

template <int Threads>
__device__ inline float block_max(float x, float* shared) {
  constexpr int kWarps = Threads / 32;
  x = warp_max(x);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  float largest = shared[0];
#pragma unroll
  for (int i = 1; i < kWarps; ++i)
    largest = fmaxf(largest, shared[i]);
  __syncthreads();
  return largest;
}

}  // namespace recallbench
