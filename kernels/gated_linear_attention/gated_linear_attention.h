#pragma once

#include <optional>
#include <vector>

#include "kernels/graph/graph.h"

namespace recallbench {

/// What gated_linear_attention reads; H query heads, N state heads, K keys and V values a head.
struct GatedLinearAttentionInputs {
  Tensor q;  ///< [R, B, L, H·K]
  Tensor k;  ///< [R, B, L, N·K]
  Tensor v;  ///< [R, B, L, N·V]
  /// g [R, B, L, N·K], logarithms of the decays, none above 0; left out where they are constant.
  std::optional<Tensor> log_decay = std::nullopt;
};

struct GatedLinearAttentionOptions {
  Index heads = 1;        ///< H, of the queries
  Index state_heads = 1;  ///< N, which divides H: query head h reads state h / (H / N)
  double scale = 1.0;
  /// e^g of every token and key, one a state head, in (0, 1]: where there is no `log_decay`.
  std::vector<double> constant_decays = {};
};

/// Linear attention that forgets, in each head, from a state S [K, V] of zeros:
///   S_t = diag(e^{g_t}) S_{t-1} + k_t v_tᵀ,   o_t = scale · S_tᵀ q_t   → o [R, B, L, H·V].
/// There is no normaliser. Computed by chunks of tokens, at a cost linear in L; decays are only
/// ever multiplied, never divided by, so that a product of decays may underflow.
/// Yang et al., "Gated linear attention transformers with hardware-efficient training", 2023; with
/// constant decays the retention of Sun et al., "Retentive network", 2023.
Tensor gated_linear_attention(Graph& graph, const GatedLinearAttentionInputs& inputs,
                              const GatedLinearAttentionOptions& options);

}  // namespace recallbench
