#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// One delta_rule on a GPU. beta and log_decay have no data where there are none; `states`
/// [R, B, chunks - 1, H·dk·dv] has none where nothing is kept.
struct DeltaRuleCuda {
  Index examples, length, heads;
  Index keys, values;  ///< dk (at most 256) and dv, of one head
  float scale, beta_scale;
  Batched<float> q, k, v, beta, log_decay, states;
};
struct DeltaRuleCudaGradients {
  Gradient<float> q, k, v, beta, log_decay;
};

/// CUDA twins of delta_rule_cpu.h.
void delta_rule_forward_cuda(const CudaCall& call, const DeltaRuleCuda& rule,
                             const Batched<float>& y);
/// `scratch` holds delta_rule_cuda_scratch numbers.
void delta_rule_backward_cuda(const CudaCall& call, const DeltaRuleCuda& rule,
                              const Batched<float>& dy, const DeltaRuleCudaGradients& gradients,
                              float* scratch);
Index delta_rule_cuda_scratch(const DeltaRuleCuda& rule, Index replicas);

}  // namespace recallbench
