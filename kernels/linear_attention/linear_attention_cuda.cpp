#include "kernels/linear_attention/linear_attention_cuda.h"

#include "kernels/linear_attention/forms_cuda.h"

namespace recallbench {
namespace {

enum class Form { narrow, chunked, wide };

Form form_of(const LinearAttentionPlan& plan) {
  if (plan.features > kNarrowFeatures || plan.values > kNarrowValues) return Form::wide;
  return chunked_pays_on_cuda(plan) && chunked_fits_on_cuda(plan) ? Form::chunked : Form::narrow;
}

}  // namespace

void linear_attention_forward_cuda(const CudaCall& call, const LinearAttentionCuda& c) {
  switch (form_of(c.plan)) {
    case Form::narrow:
      return narrow_forward_cuda(call, c);
    case Form::chunked:
      return chunked_forward_cuda(call, c);
    case Form::wide:
      return wide_forward_cuda(call, c);
  }
}

void linear_attention_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                                    const LinearAttentionGradients<float>& gradients) {
  if (!gradients.dq.wanted && !gradients.dk.wanted && !gradients.dv.wanted) return;
  switch (form_of(c.plan)) {
    case Form::narrow:
      return narrow_backward_cuda(call, c, gradients);
    case Form::chunked:
      return chunked_backward_cuda(call, c, gradients);
    case Form::wide:
      return wide_backward_cuda(call, c, gradients);
  }
}

Index linear_attention_cuda_scratch(const LinearAttentionPlan& plan, Index replicas,
                                    bool backward) {
  switch (form_of(plan)) {
    case Form::narrow:
      return backward ? narrow_backward_scratch(plan, replicas) : 0;
    case Form::chunked:
      return chunked_cuda_scratch(plan, replicas);
    case Form::wide:
      return backward ? wide_backward_scratch(plan, replicas) : 0;
  }
  return 0;
}

}  // namespace recallbench
