#pragma once

#include "kernels/cuda/call.h"
#include "kernels/linear_attention/linear_attention_cpu.h"

namespace recallbench {

/// One call on a GPU.
struct LinearAttentionCuda {
  LinearAttentionPlan plan;
  LinearAttentionTensors<float> tensors;
};

/// CUDA twins of `linear_attention`; scratch holds linear_attention_cuda_scratch numbers.
void linear_attention_forward_cuda(const CudaCall& call, const LinearAttentionCuda& c);
void linear_attention_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                                    const LinearAttentionGradients<float>& gradients);
Index linear_attention_cuda_scratch(const LinearAttentionPlan& plan, Index replicas, bool backward);

}  // namespace recallbench
