#pragma once

#include "kernels/residual_norm/residual_norm.h"

namespace recallbench {

/// The beginning of a model in one pass over memory: stream = dropout(embedding(table), p)
/// (embedding.h, dropout.h), normalised = layer_norm(stream, weight, bias, eps), or
/// rms_norm(stream, weight, eps) without bias (norm.h).
/// table [R, V, D]; weight, bias [R, 1, D] → two tensors [R, B, L, D].
/// On the CPU the bits are those of the three recorded one after another.
ResidualNorm embedding_norm(Graph& graph, const Tensor& table, Index examples, Index length,
                            double p, const Tensor& weight, std::optional<Tensor> bias,
                            double eps = 1e-5);

}  // namespace recallbench
