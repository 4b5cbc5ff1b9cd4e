#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// What generalized_delta_rule reads; H heads of K keys and V values.
struct GeneralizedDeltaRuleInputs {
  Tensor q;          ///< [R, B, L, H·K]
  Tensor k;          ///< [R, B, L, H·K]
  Tensor v;          ///< [R, B, L, H·V]
  Tensor log_decay;  ///< g [R, B, L, H·K], none above 0
  Tensor removal;    ///< κ [R, B, L, H·K]
  Tensor rate;       ///< a [R, B, L, H·K]
};

/// A state that fades, forgets what it holds along κ, and takes in a value, in each head, from a
/// state S [K, V] of zeros:
///   S_t = diag(e^{g_t}) S_{t-1} - (κ_t ⊙ a_t) (κ_tᵀ S_{t-1}) + k_t v_tᵀ,
///   o_t = S_tᵀ q_t                                                    → o [R, B, L, H·V].
/// What is removed is read before the fading. Computed by chunks of tokens, at a cost linear in L;
/// decays are only ever multiplied. Peng et al., "RWKV-7 Goose with expressive dynamic state
/// evolution", 2025; the state's matrix is diagonal plus one of rank 1. On a GPU forward goes token
/// by token, for heads of at most 512 keys and values.
Tensor generalized_delta_rule(Graph& graph, const GeneralizedDeltaRuleInputs& inputs, Index heads);

}  // namespace recallbench
