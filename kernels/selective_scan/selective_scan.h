#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// What selective_scan reads; C channels with N states each, of which the channels share B and C.
struct SelectiveScanInputs {
  Tensor x;      ///< [R, B, L, C]
  Tensor dt;     ///< [R, B, L, C], step sizes before softplus
  Tensor a_log;  ///< [R, C, N]
  Tensor b;      ///< [R, B, L, N]
  Tensor c;      ///< [R, B, L, N]
  Tensor d;      ///< [R, 1, C]
};

/// The recurrence of Mamba (Gu and Dao, "Mamba: linear-time sequence modeling with selective state
/// spaces", 2023; S6), from a state of zeros:
///   Δ_t = softplus(dt_t),   A = -exp(a_log),
///   h_t[c, n] = exp(Δ_t[c] A[c, n]) h_{t-1}[c, n] + Δ_t[c] b_t[n] x_t[c],
///   y_t[c] = Σ_n c_t[n] h_t[c, n] + d[c] x_t[c]   → y [R, B, L, C].
/// Training keeps the states before every 32nd token; backward computes the others again.
Tensor selective_scan(Graph& graph, const SelectiveScanInputs& inputs);

}  // namespace recallbench
