#include "kernels/linear_attention/linear_attention_cuda.h"

#include "kernels/linear_attention/forms_cuda.h"

namespace recallbench {

void linear_attention_forward_cuda(const CudaCall& call, const LinearAttentionCuda& c) {
  wide_forward_cuda(call, c);
}

void linear_attention_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                                    const LinearAttentionGradients<float>& gradients) {
  if (!gradients.dq.wanted && !gradients.dk.wanted && !gradients.dv.wanted) return;
  wide_backward_cuda(call, c, gradients);
}

Index linear_attention_cuda_scratch(const LinearAttentionPlan& plan, Index replicas,
                                    bool backward) {
  return backward ? wide_backward_scratch(plan, replicas) : 0;
}

}  // namespace recallbench
