#pragma once

#include <optional>

#include "kernels/graph/graph.h"

namespace recallbench {

/// y = x · weightᵀ + bias, for every row of x (a PyTorch Linear).
/// x [R, ..., in]; weight [R, out, in]; bias [R, 1, out] or none → y [R, ..., out].
/// Backward: dx = dy · weight, dweight = dyᵀ · x (summed in a fixed order over blocks of rows),
/// dbias = column sums of dy.
Tensor linear(Graph& graph, const Tensor& x, const Tensor& weight,
              std::optional<Tensor> bias = std::nullopt);

}  // namespace recallbench
