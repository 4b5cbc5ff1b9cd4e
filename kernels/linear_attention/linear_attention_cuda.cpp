#include "kernels/linear_attention/linear_attention_cuda.h"

#include "kernels/linear_attention/forms_cuda.h"

namespace recallbench {
namespace {

bool is_narrow(const LinearAttentionPlan& plan) {
  return plan.features <= kNarrowFeatures && plan.values <= kNarrowValues;
}

}  // namespace

void linear_attention_forward_cuda(const CudaCall& call, const LinearAttentionCuda& c) {
  is_narrow(c.plan) ? narrow_forward_cuda(call, c) : wide_forward_cuda(call, c);
}

void linear_attention_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                                    const LinearAttentionGradients<float>& gradients) {
  if (!gradients.dq.wanted && !gradients.dk.wanted && !gradients.dv.wanted) return;
  is_narrow(c.plan) ? narrow_backward_cuda(call, c, gradients)
                    : wide_backward_cuda(call, c, gradients);
}

Index linear_attention_cuda_scratch(const LinearAttentionPlan& plan, Index replicas,
                                    bool backward) {
  if (!backward) return 0;
  return is_narrow(plan) ? narrow_backward_scratch(plan, replicas)
                         : wide_backward_scratch(plan, replicas);
}

}  // namespace recallbench
