#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// y[r, b, i] = x[r, b, positions[r, b, i]]: the rows at the batch's labelled positions.
/// x [R, B, L, D] → y [R, B, n, D], where n = `labels`, the batch's labels per example.
/// Backward: dx is zero but for these rows, which add up where a position occurs twice.
Tensor gather_rows(Graph& graph, const Tensor& x, Index labels);

}  // namespace recallbench
