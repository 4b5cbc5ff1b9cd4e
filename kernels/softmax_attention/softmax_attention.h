#pragma once

#include <optional>

#include "kernels/graph/graph.h"

namespace recallbench {

struct SoftmaxAttentionOptions {
  Index heads = 1;
  double scale = 1;             ///< of the scores; mostly 1 / sqrt(dh)
  std::optional<Index> window;  ///< keys back that a query sees besides its own; none: all
  double dropout = 0;           ///< of the probabilities, on a graph that drops; 0 <= p < 1
  bool at_labels = false;       ///< queries stand at the batch's labelled positions
};

/// Causal softmax attention. With t the position of query i and head h's columns of each tensor:
///
///   s_j = scale · ⟨q_i, k_j⟩,  a = softmax of s over the visible j: max(0, t - window) <= j <= t,
///   o_i = Σ_j drop(a_j) v_j.
///
/// q [R, B, Lq, H·dh], k [R, B, L, H·dh], v [R, B, L, H·dv] → o [R, B, Lq, H·dv]. Query i stands at
/// position i (Lq = L), or with `at_labels` at positions[b, i] of the batch (Lq = its labels).
/// drop is inverted dropout, probabilities are not normalised again: element ((b·H + h)·L + t)·L +
/// j of the mask that dropout.h describes; so B·H·L² <= 2^34. The mask is computed again in
/// backward. Of the L x L probabilities only a block of queries exists at a time; backward computes
/// them again from the logarithm of each row's sum, which forward saves. The sums over queries in
/// dk and dv have a fixed order; which keys a block of labelled queries takes follows the replica's
/// own positions.
Tensor softmax_attention(Graph& graph, const Tensor& q, const Tensor& k, const Tensor& v,
                         SoftmaxAttentionOptions options);

}  // namespace recallbench
