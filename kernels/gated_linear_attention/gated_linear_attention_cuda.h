#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

constexpr Index kGatedMostConstants = 64;  ///< state heads with constant decays on a GPU

/// One gated_linear_attention on a GPU, shapes as in gated_linear_attention.h; log_decay has no
/// data where the decays are constant. Of keys there may be 256 a head.
struct GatedLinearAttentionCuda {
  Index examples, length, heads, state_heads, keys, values;
  float scale;
  Batched<float> q, k, v, log_decay;
  float constant_decays[kGatedMostConstants];
};
struct GatedLinearAttentionCudaGradients {
  Gradient<float> q, k, v, log_decay;
};

/// CUDA twins of gated_linear_attention_cpu.h; backward's `scratch` holds
/// gated_linear_attention_cuda_scratch numbers.
void gated_linear_attention_forward_cuda(const CudaCall& call, const GatedLinearAttentionCuda& in,
                                         const Batched<float>& y);
void gated_linear_attention_backward_cuda(const CudaCall& call, const GatedLinearAttentionCuda& in,
                                          const Batched<float>& dy,
                                          const GatedLinearAttentionCudaGradients& gradients,
                                          float* scratch);
Index gated_linear_attention_cuda_scratch(const GatedLinearAttentionCuda& in, Index replicas);

}  // namespace recallbench
