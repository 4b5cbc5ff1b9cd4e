// Shares of tokens, one or two numbers each: 65,536 of them are 0.3 MB, so that launches and the
// latency of what is done in order cost more than memory. A warp walks along a sequence, 32 tokens
// at a time, by scans over its lanes; all else is one thread a token.
#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/numbers.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/cuda/reduce.cuh"
#include "mixers/selective_attention/blocks.cuh"
#include "mixers/selective_attention/selection_cuda.h"

namespace recallbench {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr Index kSliceRows = 1024;  // rows of a block of tempered_gate_backward

/// log(e^a + e^b); `b` may be -inf, and a NaN stays.
__device__ float log_add(float a, float b) {
  const float high = a > b ? a : b, low = a > b ? b : a;
  return high + log1pf(expf(low - high));
}

/// Where the warp's sequence begins; false where there is none.
__device__ bool first_token(Index rows, Index length, Index& first) {
  first = (blockIdx.x * Index{kWarps} + threadIdx.x / 32) * length;
  return first < rows;
}

/// log Σ e^z of a lane's token and those before it, `before` that of the tokens of earlier calls
/// (-inf: none). Lanes hold neighbouring tokens, those without one -inf.
__device__ float log_sum_so_far(float z, float before) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const float earlier = __shfl_up_sync(0xffffffffu, z, offset);
    if (lane >= offset) z = log_add(earlier, z);
  }
  return before == -INFINITY ? z : log_add(before, z);
}

__global__ void __launch_bounds__(kThreads)
    position_softmax(Batched<float> z, Index length, bool causal, Batched<float> s) {
  after_previous();
  const Index replica = blockIdx.y;
  const int lane = threadIdx.x % 32;
  Index first;
  if (!first_token(z.rows, length, first)) return;
  float before = -INFINITY;
  for (Index start = 0; start < length; start += 32) {
    const Index t = start + lane;
    const float own = t < length ? *place_of(z, replica, first + t) : -INFINITY;
    const float sum = log_sum_so_far(own, before);
    if (causal && t < length) *place_of(s, replica, first + t) = expf(own - sum);
    before = __shfl_sync(0xffffffffu, sum, static_cast<int>(min(length - start, Index{32})) - 1);
  }
  for (Index t = lane; !causal && t < length; t += 32)
    *place_of(s, replica, first + t) = expf(*place_of(z, replica, first + t) - before);
}

/// Σ_{j>=t} ds_j s_j e^{l_t - l_j} (selection_cpu.cpp) is a recurrence from the last token to the
/// first, x_t = d_t + (1 - s_{t+1}) x_{t+1}: lanes compose its steps, later tokens first.
__global__ void __launch_bounds__(kThreads)
    causal_softmax_backward(Batched<float> s, Batched<float> ds, Index length, Gradient<float> dz) {
  after_previous();
  const Index replica = blockIdx.y;
  const int lane = threadIdx.x % 32;
  Index first;
  if (!first_token(s.rows, length, first)) return;
  float behind = 0;  // x of the first token of the piece before
  for (Index start = (length - 1) / 32 * 32; start >= 0; start -= 32) {
    const Index t = start + lane;
    const float share = t < length ? *place_of(s, replica, first + t) : 0;
    const float slope = t < length ? *place_of(ds, replica, first + t) : 0;
    float factor = t + 1 < length ? 1 - *place_of(s, replica, first + t + 1) : 0;
    float sum = slope * share;
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
      const float later_factor = __shfl_down_sync(0xffffffffu, factor, offset);
      const float later_sum = __shfl_down_sync(0xffffffffu, sum, offset);
      if (lane + offset < 32) {
        sum += factor * later_sum;
        factor *= later_factor;
      }
    }
    sum += factor * behind;
    behind = __shfl_sync(0xffffffffu, sum, 0);
    if (t < length) write_gradient(dz, replica, first + t, 0, share * (slope - sum));
  }
}

__global__ void __launch_bounds__(kThreads)
    whole_softmax_backward(Batched<float> s, Batched<float> ds, Index length, Gradient<float> dz) {
  after_previous();
  const Index replica = blockIdx.y;
  const int lane = threadIdx.x % 32;
  Index first;
  if (!first_token(s.rows, length, first)) return;
  float sum = 0;
  for (Index t = lane; t < length; t += 32)
    sum += *place_of(ds, replica, first + t) * *place_of(s, replica, first + t);
  sum = warp_sum(sum);
  for (Index t = lane; t < length; t += 32)
    write_gradient(dz, replica, first + t, 0,
                   *place_of(s, replica, first + t) * (*place_of(ds, replica, first + t) - sum));
}

__global__ void __launch_bounds__(kThreads)
    tempered_gate(Batched<float> z, Batched<float> temperature, Batched<float> s) {
  after_previous();
  const Index row = blockIdx.x * Index{kThreads} + threadIdx.x, replica = blockIdx.y;
  if (row >= z.rows) return;
  const float* pair = place_of(z, replica, row);
  *place_of(s, replica, row) =
      1 / (1 + expf((pair[0] - pair[1]) / *place_of(temperature, replica, 0)));
}

/// parts[replica, block] = the block's part of dtemperature.
__global__ void __launch_bounds__(kThreads)
    tempered_gate_backward(Batched<float> z, Batched<float> temperature, Batched<float> s,
                           Batched<float> ds, Gradient<float> dz, float* parts) {
  after_previous();
  __shared__ float warps[kWarps];
  const Index first = blockIdx.x * kSliceRows, replica = blockIdx.y;
  const float coldness = 1 / *place_of(temperature, replica, 0);
  float sum = 0;
  for (Index row = first + threadIdx.x; row < min(first + kSliceRows, z.rows); row += kThreads) {
    const float share = *place_of(s, replica, row);
    const float slope = *place_of(ds, replica, row) * share * (1 - share) * coldness;
    const float* pair = place_of(z, replica, row);
    sum -= slope * (pair[1] - pair[0]) * coldness;
    write_gradient(dz, replica, row, 0, -slope);
    write_gradient(dz, replica, row, 1, slope);
  }
  sum = block_sum<kThreads>(sum, warps);
  if (threadIdx.x == 0) parts[replica * gridDim.x + blockIdx.x] = sum;
}

Index gate_slices(Index rows) {
  return (rows + kSliceRows - 1) / kSliceRows;
}

}  // namespace

void position_softmax_cuda(const CudaCall& call, const Batched<float>& z, Index length, bool causal,
                           const Batched<float>& s) {
  const dim3 blocks = blocks_for("position_softmax", z.rows / length, kWarps, z.replicas);
  cuda_launch("position_softmax", position_softmax, {blocks, kThreads, 0, call.stream}, z, length,
              causal, s);
}

void position_softmax_backward_cuda(const CudaCall& call, const Batched<float>& s,
                                    const Batched<float>& ds, Index length, bool causal,
                                    const Gradient<float>& dz) {
  if (!dz.wanted) return;
  const dim3 blocks = blocks_for("position_softmax", s.rows / length, kWarps, s.replicas);
  const auto kernel = causal ? causal_softmax_backward : whole_softmax_backward;
  cuda_launch("position_softmax_backward", kernel, {blocks, kThreads, 0, call.stream}, s, ds,
              length, dz);
}

void tempered_gate_cuda(const CudaCall& call, const Batched<float>& z,
                        const Batched<float>& temperature, const Batched<float>& s) {
  const dim3 blocks = blocks_for("tempered_gate", z.rows, kThreads, z.replicas);
  cuda_launch("tempered_gate", tempered_gate, {blocks, kThreads, 0, call.stream}, z, temperature,
              s);
}

Index tempered_gate_scratch(Index replicas, Index rows) {
  return replicas * gate_slices(rows);
}

void tempered_gate_backward_cuda(const CudaCall& call, const Batched<float>& z,
                                 const Batched<float>& temperature, const Batched<float>& s,
                                 const Batched<float>& ds, const Gradient<float>& dz,
                                 const Gradient<float>& dtemperature, float* scratch) {
  if (!dz.wanted && !dtemperature.wanted) return;
  const dim3 blocks = blocks_for("tempered_gate", z.rows, kSliceRows, z.replicas);
  cuda_launch("tempered_gate_backward", tempered_gate_backward, {blocks, kThreads, 0, call.stream},
              z, temperature, s, ds, dz, scratch);
  sum_partials_cuda(call, z.replicas, {scratch, gate_slices(z.rows), 1, 0, dtemperature, {}});
}

}  // namespace recallbench
