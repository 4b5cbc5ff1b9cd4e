#pragma once

#include "kernels/cuda/call.h"
#include "kernels/generalized_delta_rule/generalized_delta_rule_cpu.h"

namespace recallbench {

/// Keys, or values, of one head on a GPU.
constexpr Index kGeneralizedDeltaMost = 512;

/// What forward leaves for backward where there is memory: r_t = S_{t-1}ᵀ κ_t [R, B, L, H·V], and
/// S after every chunk of GeneralizedDeltaRulePlan::kChunk tokens but the last
/// [R, B, chunks - 1, H·K·V], each matrix in the order that its kernels like.
struct GeneralizedDeltaRuleKept {
  Batched<float> removed, states;
};

/// CUDA twins of `generalized_delta_rule`, of heads of at most kGeneralizedDeltaMost keys and
/// values.
void generalized_delta_rule_forward_cuda(const CudaCall& call, const GeneralizedDeltaRulePlan& plan,
                                         const GeneralizedDeltaRuleViews<float>& in,
                                         const Batched<float>& y,
                                         const GeneralizedDeltaRuleKept& kept);
/// `scratch` holds generalized_delta_rule_cuda_scratch numbers.
void generalized_delta_rule_backward_cuda(
    const CudaCall& call, const GeneralizedDeltaRulePlan& plan,
    const GeneralizedDeltaRuleViews<float>& in, const GeneralizedDeltaRuleKept& kept,
    const Batched<float>& dy, const GeneralizedDeltaRuleGradients<float>& out, float* scratch);
Index generalized_delta_rule_cuda_scratch(const GeneralizedDeltaRulePlan& plan, Index replicas);

}  // namespace recallbench
