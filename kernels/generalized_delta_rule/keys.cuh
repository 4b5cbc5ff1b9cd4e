#pragma once

#include "kernels/generalized_delta_rule/walk.cuh"

namespace recallbench {

/// What backward reads besides the inputs when G is known, and writes: `dremoved` is dr, `dstates`
/// G after every chunk but the last.
struct KeyTensors {
  Batched<float> dy, removed, dremoved, states, dstates;
  GeneralizedDeltaRuleGradients<float> out;
};

/// The gradients of all but v. `quads`: whether every tensor can be read in pieces of four numbers.
void generalized_delta_keys_cuda(const CudaCall& call, const GeneralizedDeltaRulePlan& plan,
                                 const GeneralizedDeltaRuleViews<float>& in, const KeyTensors& x,
                                 bool quads);

}  // namespace recallbench
