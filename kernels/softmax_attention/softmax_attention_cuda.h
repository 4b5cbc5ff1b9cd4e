#pragma once

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// What the CUDA twins of `softmax_attention` need: see softmax_attention.h. Widths are a head's.
struct AttentionCuda {
  Index examples, queries, keys, heads, key_width, value_width;
  double scale;
  Index reach;     ///< the window; L where there is none
  double dropout;  ///< 0 unless training
  std::uint32_t random_id;
  const std::int32_t* positions;  ///< [R, B, Lq] on the GPU, or null: query i at position i
  Batched<float> q, k, v, o;
  Batched<float> log_sum;  ///< [R, B, H, Lq], the logarithm of each row's Σ exp(s_j)
};

/// Writes o and log_sum.
void softmax_attention_forward_cuda(const CudaCall& call, const AttentionCuda& a);
/// From o, log_sum and d_o to those of dq, dk and dv that are wanted. `scratch` holds
/// softmax_attention_cuda_scratch(R, B, H, Lq) numbers.
void softmax_attention_backward_cuda(const CudaCall& call, const AttentionCuda& a,
                                     const Batched<float>& d_o, const Gradient<float>& dq,
                                     const Gradient<float>& dk, const Gradient<float>& dv,
                                     float* scratch);

/// One number a query and head: ⟨d_o_i, o_i⟩.
inline Index softmax_attention_cuda_scratch(Index replicas, Index examples, Index heads,
                                            Index queries) {
  return replicas * examples * heads * queries;
}

}  // namespace recallbench
