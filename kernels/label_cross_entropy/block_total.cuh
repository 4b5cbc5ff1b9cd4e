#pragma once

namespace recallbench {

/// Every thread gets the block's sum, by a fixed tree; `Threads` is a power of two.
template <int Threads>
__device__ inline double block_total(double x) {
  __shared__ double sums[Threads];
  const int thread = threadIdx.x;
  sums[thread] = x;
  for (int half = Threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) sums[thread] += sums[thread + half];
  }
  __syncthreads();
  const double total = sums[0];
  __syncthreads();
  return total;
}

/// Σ w over one replica's rows, for every thread.
template <int Threads>
__device__ inline double total_weight(const float* weights, long rows) {
  double sum = 0;
#pragma unroll 16
  for (long i = threadIdx.x; i < rows; i += Threads)
    sum += weights[i];
  return block_total<Threads>(sum);
}

}  // namespace recallbench
