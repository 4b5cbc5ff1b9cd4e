#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// y[r, j, i] = x[r, i, j]; x [R, a, b] → y [R, b, a]. For parameters, not for activations.
Tensor transpose(Graph& graph, const Tensor& x);

}  // namespace recallbench
