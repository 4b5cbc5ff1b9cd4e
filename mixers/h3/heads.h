#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// The outer product of each head's keys and values, F = head_dim numbers each of H heads:
///   p[(i F + j) H + h] = k[h F + i] v[h F + j].   k, v [R, B, L, H F] → p [R, B, L, F F H].
Tensor head_outer(Graph& graph, const Tensor& k, const Tensor& v, Index head_dim);

/// What each head's query reads from such products:
///   o[j H + h] = Σ_i q[h F + i] p[(i F + j) H + h].
/// q [R, B, n, H F], p [R, B, n, F F H] → o as q.
/// Its columns run over the heads first, other than those of q.
Tensor head_inner(Graph& graph, const Tensor& q, const Tensor& p, Index head_dim);

}  // namespace recallbench
