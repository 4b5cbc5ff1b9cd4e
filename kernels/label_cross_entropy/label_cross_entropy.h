#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// Cross-entropy at the labelled positions, with the language-model head folded in:
///   logits[i] = h[i] · tableᵀ,   loss = Σ w_i (log Σ_v e^{logits[i, v]} - logits[i, target_i]) / Σ
///   w_i
/// over the M = B n rows of the batch's labels; w and targets are the batch's.
/// The logits exist for one chunk of rows at a time (on a GPU's tensor cores for one tile), and
/// while training the gradients of h and of the table are computed from them at once.
struct LabelCrossEntropy {
  Tensor loss;      ///< [R, 1, 1], nats
  Tensor row_loss;  ///< [R, M, 1], unweighted; no gradient
  Tensor correct;   ///< [R, M, 1]: 1 where the first largest logit is the target's; no gradient
};

/// h [R, B, n, D], table [R, V, D].
LabelCrossEntropy label_cross_entropy(Graph& graph, const Tensor& h, const Tensor& table);

}  // namespace recallbench
