#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// The taps of a shift SSM with N states a channel, and its skip D in the first of them:
///   κ[l, c] = Σ_{m < N - l} b[c, m] c[c, m + l] (+ d[c] where l = 0),   l < taps <= N.
/// b, c [R, D, N], d [R, 1, D] → κ [R, taps, D].
Tensor shift_ssm_filter(Graph& graph, const Tensor& b, const Tensor& c, const Tensor& d,
                        Index taps);

/// H diagonal SSMs of M complex modes; complex numbers are pairs (re, im).
struct DiagonalSsm {
  Tensor c, b;                  ///< [R, H M, 2]
  Tensor log_decay, frequency;  ///< [R, H, M]: A = -exp(log_decay) + i frequency
  Tensor log_dt;                ///< [R, 1, H]: Δ = exp(log_dt)
  Tensor d;                     ///< [R, 1, H]
};

/// Its taps under the bilinear rule, the skip in the first of them, `copies` times side by side:
///   Ā = (1 + Δ A / 2) / (1 - Δ A / 2),   B̄ = Δ b / (1 - Δ A / 2),
///   κ[l, k H + h] = 2 Re Σ_n c_n B̄_n Ā_n^l (+ d[h] where l = 0)   → κ [R, taps, copies H].
/// Powers are taken in double whatever the graph's type. Gu et al., "On the parameterization and
/// initialization of diagonal state space models", 2022 (S4D).
Tensor diagonal_ssm_filter(Graph& graph, const DiagonalSsm& ssm, Index taps, Index copies);

}  // namespace recallbench
