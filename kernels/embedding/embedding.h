#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// y[r, b, t] = table[r, tokens[r, b, t]] for the batch's tokens.
/// table [R, V, D] → y [R, B, L, D]. Backward adds rows up in the order of the batch, whatever the
/// number of threads.
Tensor embedding(Graph& graph, const Tensor& table, Index examples, Index length);

/// y[r, b, t] = x[r, b, t] + table[r, t]. x [R, B, L, D], table [R, P, D] with L <= P.
Tensor add_positions(Graph& graph, const Tensor& x, const Tensor& table);

}  // namespace recallbench
