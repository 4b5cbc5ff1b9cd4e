#pragma once

#include "kernels/residual_norm/residual_norm.h"

namespace recallbench {

/// Weight and bias of a LayerNorm, [R, 1, D] each.
struct LayerNormWeights {
  Tensor weight, bias;
};

/// Two residual branches in a row, the second of which is the norm of the stream itself, in one
/// pass over memory: residual_norm(inner, norm₁(inner), p) with inner = r + dropout(h, p), and
/// norm₂ at its end. So ends a block of the reference whose state mixer is the identity.
///   inner = r + dropout(h, p), stream = inner + dropout(layer_norm(inner, first), p),
///   normalised = layer_norm(stream, second).
/// r, h [R, ..., D] of one shape → two tensors of that shape.
/// On the CPU the bits are those of two residual_norms.
ResidualNorm double_residual_norm(Graph& graph, const Tensor& r, const Tensor& h, double p,
                                  const LayerNormWeights& first, const LayerNormWeights& second,
                                  double eps = 1e-5);

}  // namespace recallbench
