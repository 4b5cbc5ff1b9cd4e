#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// What token_bonus reads, all [R, ..., D] but the weight.
struct TokenBonusInputs {
  Tensor o, r, k, v;
  Tensor weight;  ///< [R, H, D / H]
};

/// A head's value of the token itself, by the weighted agreement of what is asked and what is held:
///   y = o + (Σ_c r[c] k[c] weight[c]) v, in each of H heads → [R, ..., D].
/// Peng et al., "RWKV-7 Goose with expressive dynamic state evolution", 2025.
Tensor token_bonus(Graph& graph, const TokenBonusInputs& inputs);

}  // namespace recallbench
