#pragma once

#include <optional>

#include "kernels/graph/graph.h"

namespace recallbench {

/// A layer of the inner model, one a head: z = x W + b.
struct TttLayer {
  Tensor weight;  ///< [R, H n, m], n numbers in, m out
  Tensor bias;    ///< [R, H, m]
};

/// What ttt reads, of H heads of f columns. q, k, v and rate may be slices of columns.
struct TttInputs {
  Tensor q, k, v;    ///< [R, B, L, H f]
  Tensor rate;       ///< [R, B, L, H]: inner learning rates η, before their scale
  Tensor step;       ///< [R, 1, b], learned part of the step sizes τ within a mini-batch
  Tensor norm;       ///< [R, H, f]: γ of the inner LayerNorm
  Tensor norm_bias;  ///< [R, H, f]: β
  TttLayer first;    ///< f → f, or with a second layer f → m
  std::optional<TttLayer> second;  ///< m → f
};

/// Test-time training: the state is a small model, and each token takes a gradient step of it
/// (Sun et al., "Learning to (learn at test time)", 2024, arXiv 2407.04620). In each head, with the
/// inner model F_W(u) = u W1 + b1, or GELU(u W1 + b1) W2 + b2 with the tanh form of GELU, and
/// LN(z) = γ ẑ + β (eps 1e-6):
///   ℓ_t(W) = ½ |LN(F_W(k_t)) - (v_t - k_t)|²
///   η_t = scale · rate_t,   τ_i = max(1 / (i + 1) + step_i, 0),   i = t mod b
/// and in the mini-batch of b tokens that begins at token c, with the weights W_c of its start:
///   W_t = W_c - τ_{t-c} Σ_{c<=j<=t} η_j ∇ℓ_j(W_c)        (the next one starts from its last)
///   o_t = q_t + LN(F_{W_t}(q_t))                          → o [R, B, L, H f].
/// Computed in the dual form: attention within a mini-batch, weights between them, so that the cost
/// is linear in L and nearly all of it in matrix products.
Tensor ttt(Graph& graph, const TttInputs& inputs, double scale);

}  // namespace recallbench
