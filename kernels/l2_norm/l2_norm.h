#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// Each head's numbers divided by their length: y = x / sqrt(Σ x² + eps), with the eps inside the
/// root. x [R, ..., H·D] → the same shape.
Tensor l2_norm(Graph& graph, const Tensor& x, Index heads, double eps = 1e-6);

/// Each head's numbers divided by their sum: y = x / Σ x, for features that are positive; a sum of
/// 0 gives what a division by 0 gives. x [R, ..., H·D] → the same shape.
Tensor sum_norm(Graph& graph, const Tensor& x, Index heads);

}  // namespace recallbench
