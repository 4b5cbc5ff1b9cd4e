#pragma once

#include <optional>

#include "kernels/graph/graph.h"
#include "mixers/nsa/sparse_size.h"

namespace recallbench {

// Operations of native sparse attention. Blocks are `block` tokens side by side; block w may be
// seen in compressed form, and chosen, by the tokens behind it: t >= (w + 1) block.

/// Blocks as rows, with what their places add: for each block w and head h, the numbers
/// x[w block + n, h f + j] + places[h block + n, j], n-major. x [R, B, L, H f], places
/// [R, H block, f] → [R, B, W H, block f] with W = max(1, L / block); what lies beyond L is 0.
Tensor block_rows(Graph& graph, const Tensor& x, const Tensor& places);

/// `memory` rows before those of x: [R, H M, f] → rows 0 ... M - 1, x [R, B, W, H f] → the others
/// of [R, B, M + W, H f].
Tensor with_memory(Graph& graph, const Tensor& x, const Tensor& memory);

/// softmax_j(⟨q_i, k_j⟩ / √f) v_j over visible keys. q [R, B, n, H f]; k, v [R, B, K, Hkv f];
/// `chosen` [R, B, n, choice_groups · choices] as choose_blocks gives it (Visible::chosen) → as q.
Tensor grouped_attention(Graph& graph, const Tensor& q, const Tensor& k, const Tensor& v,
                         const GroupedAttentionOptions& options,
                         std::optional<Tensor> chosen = std::nullopt);

/// The numbers of the `choices` blocks behind each query with the highest scores, -1 for none: for
/// each of choice_groups groups of query heads by their mean score. Scores are ⟨q, k⟩ / √f with the
/// compressed keys; blocks whose share of a softmax over them and one score of -1000 is at most
/// 1e-10 are not chosen. Options are those of Visible::blocks. No gradient: choices are constants.
Tensor choose_blocks(Graph& graph, const Tensor& q, const Tensor& k,
                     const GroupedAttentionOptions& options, Index choices);

/// y[h f + j] = Σ_s gates[3 h + s] branch_s[h f + j].
/// gates [R, B, n, 3 H], branches [R, B, n, H f].
Tensor combine_branches(Graph& graph, const Tensor& gates, const Tensor& a, const Tensor& b,
                        const Tensor& c);

}  // namespace recallbench
