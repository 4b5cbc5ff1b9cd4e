#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// What rwkv7_keys reads.
struct Rwkv7KeyInputs {
  Tensor k;      ///< [R, ..., D], projected keys
  Tensor logit;  ///< [R, ..., D], of the in-context learning rates
  Tensor k_k;    ///< [R, 1, D]
  Tensor k_a;    ///< [R, 1, D]
};
struct Rwkv7Keys {
  Tensor removal;      ///< κ: what is taken out of the state along
  Tensor replacement;  ///< k: what is written along
  Tensor rate;         ///< a: how much is taken out, in (0, 1)
};

/// RWKV-7's two keys from one, in each head, and the rates that both have to do with:
///   a = σ(logit),   κ = z / sqrt(Σ z² + 1e-6) with z = k ⊙ k_k,   k' = k ⊙ (1 + (a - 1) ⊙ k_a)
/// [R, ..., D] each.
/// Peng et al., "RWKV-7 Goose with expressive dynamic state evolution", 2025.
Rwkv7Keys rwkv7_keys(Graph& graph, const Rwkv7KeyInputs& inputs, Index heads);

}  // namespace recallbench
