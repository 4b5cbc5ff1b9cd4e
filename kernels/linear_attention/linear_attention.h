#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// The weight that query i gives to key j, of their rows in one head.
enum class LinearKernel {
  features,  ///< w = <q, k>: q and k are features already
  taylor,    ///< w = 1 + s + s²/2 with s = scale · <q, k>: e^s to second order
};

struct LinearAttentionOptions {
  Index heads = 1;
  LinearKernel kernel = LinearKernel::features;
  double scale = 1.0;  ///< of `taylor`; `features` takes none
  double eps = 1e-12;
  /// Query i of example b stands at the batch's labelled position i, not at position i.
  bool at_labels = false;
};

/// Causal linear attention, normalised by its own sum of weights, in each head:
///   y_t = (Σ_{j <= t} w(q_t, k_j) v_j) / (Σ_{j <= t} w(q_t, k_j) + eps).
/// q [R, B, n, H·f], k [R, B, L, H·f], v [R, B, L, H·dh] → y [R, B, n, H·dh]; n is L, or the
/// labels per example with `at_labels`. All three may be slices of columns. Where L is long
/// against the features the sums over earlier blocks are carried as a state (cost linear in L);
/// otherwise blocks of weights are made, never a matrix [L, L]. Which of the two depends on
/// shapes alone. Kernels that are not positive may have a denominator near 0: nothing is clipped.
/// Arora et al., "Simple linear attention language models balance the recall-throughput
/// tradeoff", 2024.
Tensor linear_attention(Graph& graph, const Tensor& q, const Tensor& k, const Tensor& v,
                        const LinearAttentionOptions& options);

}  // namespace recallbench
