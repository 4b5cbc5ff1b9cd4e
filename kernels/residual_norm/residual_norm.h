#pragma once

#include <optional>

#include "kernels/graph/graph.h"

namespace recallbench {

struct ResidualNorm {
  Tensor stream;      ///< r + dropout(h, p)
  Tensor normalised;  ///< its norm
};

/// The end of one residual branch and the norm that begins the next, in one pass over memory:
/// stream = r + dropout(h, p) (dropout.h), normalised = layer_norm(stream,
/// weight, bias, eps), or rms_norm(stream, weight, eps) without bias (norm.h).
/// r, h [R, ..., D] of one shape; weight, bias [R, 1, D] → two tensors of that shape.
/// Backward: dr = dstream + the norm's gradient, dh = dr ⊙ mask / (1 - p).
/// On the CPU the bits are those of dropout, add and the norm recorded one after another.
ResidualNorm residual_norm(Graph& graph, const Tensor& r, const Tensor& h, double p,
                           const Tensor& weight, std::optional<Tensor> bias, double eps = 1e-5);

}  // namespace recallbench
