#pragma once

#include <optional>

#include "kernels/graph/graph.h"

namespace recallbench {

/// y = (x - mean) / sqrt(var + eps) ⊙ weight + bias over the last dimension, var biased (1/n).
/// x [R, ..., D]; weight, bias [R, 1, D] (Ba, Kiros, Hinton, "Layer normalization", 2016).
Tensor layer_norm(Graph& graph, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  double eps = 1e-5);

/// y = x / sqrt(mean(x²) + eps) ⊙ weight (Zhang, Sennrich, "Root mean square layer
/// normalization", 2019). x [R, ..., D]; weight [R, 1, D].
Tensor rms_norm(Graph& graph, const Tensor& x, const Tensor& weight, double eps = 1e-5);

/// weight, and bias where there is one, are [R, 1, D] for x [R, ..., D], or an Error of `who`.
void check_norm_weights(const char* who, const Tensor& x, const Tensor& weight,
                        const std::optional<Tensor>& bias);

}  // namespace recallbench
