#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

// What selective attention computes of each token's share s [R, B, L, 1].

/// s_t = e^{z_t} / Σ_j e^{z_j} over the tokens j of the sequence, or, `causal`, those up to t.
Tensor position_softmax(Graph& graph, const Tensor& z, bool causal);

/// s = the second number of softmax(z / temperature), z of two numbers: σ((z_1 - z_0) /
/// temperature). z [R, B, L, 2], temperature [R, 1, 1].
Tensor tempered_gate(Graph& graph, const Tensor& z, const Tensor& temperature);

/// s where it is one of the k largest of its sequence, 0 elsewhere; with k = 0, s where it is above
/// 1/2.
Tensor keep_lookups(Graph& graph, const Tensor& s, Index k);

/// weight · max(mean(s) - share, 0), over all tokens of the examples that have labels → [R, 1, 1].
Tensor lookup_penalty(Graph& graph, const Tensor& s, double weight, double share);

/// y = x + s a, token by token; x, a [R, B, n, D], s [R, B, n, 1].
Tensor add_scaled(Graph& graph, const Tensor& x, const Tensor& s, const Tensor& a);

}  // namespace recallbench
