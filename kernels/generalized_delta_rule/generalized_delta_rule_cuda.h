#pragma once

#include "kernels/cuda/call.h"
#include "kernels/generalized_delta_rule/generalized_delta_rule_cpu.h"

namespace recallbench {

/// Keys, or values, of one head on a GPU.
constexpr Index kGeneralizedDeltaMost = 512;

/// CUDA twins of `generalized_delta_rule`, of heads of at most kGeneralizedDeltaMost keys and
/// values. `removed` [R, B, L, H·V] gets κ_tᵀ S_{t-1} where it has memory; backward reads it.
void generalized_delta_rule_forward_cuda(const CudaCall& call, const GeneralizedDeltaRulePlan& plan,
                                         const GeneralizedDeltaRuleViews<float>& in,
                                         const Batched<float>& y, const Batched<float>& removed);
/// `scratch` holds generalized_delta_rule_cuda_scratch numbers.
void generalized_delta_rule_backward_cuda(const CudaCall& call,
                                          const GeneralizedDeltaRulePlan& plan,
                                          const GeneralizedDeltaRuleViews<float>& in,
                                          const Batched<float>& removed, const Batched<float>& dy,
                                          const GeneralizedDeltaRuleGradients<float>& out,
                                          float* scratch);
Index generalized_delta_rule_cuda_scratch(const GeneralizedDeltaRulePlan& plan, Index replicas);

}  // namespace recallbench
