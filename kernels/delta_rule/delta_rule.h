#pragma once

#include <optional>

#include "kernels/graph/graph.h"

namespace recallbench {

/// What delta_rule reads, H heads side by side in the columns.
struct DeltaRuleInputs {
  Tensor q, k;                      ///< [R, B, L, H·dk]
  Tensor v;                         ///< [R, B, L, H·dv]
  std::optional<Tensor> beta;       ///< [R, B, L, H], strength of writing; none: 1
  std::optional<Tensor> log_decay;  ///< [R, B, L, H], g <= 0; none: 0, nothing decays
};

struct DeltaRuleOptions {
  Index heads = 1;
  double scale = 1;       ///< of q
  double beta_scale = 1;  ///< of beta, of its default too
};

/// The gated delta rule: in each head, from a state S [dk, dv] of zeros,
///   S' = e^g S,   e = v - S'ᵀ k,   S = S' + β k eᵀ,   y = Sᵀ (scale q)   → y [R, B, L, H·dv].
/// With |k| <= 1 and β <= 2 a step enlarges no state; nothing is clipped otherwise.
/// Chunks of tokens whose corrections solve a triangular system (the WY form): cost linear in L,
/// nearly all of it matrix products. Training keeps the state before every chunk but the first.
/// Schlag, Irie, Schmidhuber, "Linear transformers are secretly fast weight programmers", 2021;
/// Yang et al., "Parallelizing linear transformers with the delta rule over sequence length",
/// 2024; Yang, Kautz, Hatamizadeh, "Gated delta networks", 2024.
Tensor delta_rule(Graph& graph, const DeltaRuleInputs& inputs, const DeltaRuleOptions& options);

}  // namespace recallbench
