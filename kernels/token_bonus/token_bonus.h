#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// What token_bonus reads, all [R, ..., D] but the weight.
struct TokenBonusInputs {
  Tensor o;        ///< what the recurrence gave
  Tensor r, k, v;  ///< the token's receptance (its query), key and value
  Tensor weight;   ///< [R, H, D / H]
};

/// A head's value of the token itself, by the weighted agreement of receptance and key:
///   y = o + (Σ_c r[c] k[c] weight[c]) v, in each of H heads → [R, ..., D].
/// Peng et al., "RWKV-7 Goose with expressive dynamic state evolution", 2025.
Tensor token_bonus(Graph& graph, const TokenBonusInputs& inputs);

}  // namespace recallbench
