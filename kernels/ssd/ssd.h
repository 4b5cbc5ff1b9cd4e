#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// What ssd reads: H heads of P channels in G groups, whose heads share b and c of N numbers. Head
/// h belongs to group h / (H / G). All but the parameters may be slices of columns.
struct SsdInputs {
  Tensor x;        ///< [R, B, L, H P]
  Tensor dt;       ///< [R, B, L, H], step sizes before their bias and softplus
  Tensor dt_bias;  ///< [R, 1, H]
  Tensor a_log;    ///< [R, 1, H]
  Tensor b;        ///< [R, B, L, G N]
  Tensor c;        ///< [R, B, L, G N]
  Tensor d;        ///< [R, 1, H], or [R, 1, H P] for one a channel
};

/// State-space duality, the recurrence of Mamba-2 (Dao and Gu, "Transformers are SSMs: generalized
/// models and efficient algorithms through structured state space duality", 2024), from a state
/// of zeros, in each head:
///   Δ_t = softplus(dt_t + dt_bias),   a_t = exp(-exp(a_log) Δ_t),
///   S_t = a_t S_{t-1} + Δ_t b_t x_tᵀ                  [N, P]
///   y_t = S_tᵀ c_t + d ⊙ x_t                          → y [R, B, L, H P].
/// Within a chunk it is attention with decays, between chunks a state: cost linear in L, nearly
/// all of it in matrix products. Decays below 1e-30 within a chunk count as 0.
Tensor ssd(Graph& graph, const SsdInputs& inputs, Index groups);

}  // namespace recallbench
