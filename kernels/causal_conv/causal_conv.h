#pragma once

#include <optional>

#include "kernels/graph/graph.h"

namespace recallbench {

enum class ConvActivation {
  none,
  silu,  ///< x σ(x)
};

/// Depthwise causal convolution of width K, and an activation:
///   y[b, t, c] = act(bias[c] + Σ_{j<K} weight[c, j] · x[b, t-K+1+j, c]),
/// where x before the sequence is 0, so weight[c, K-1] multiplies the current token (a PyTorch
/// Conv1d with groups = C, cut to L). Backward computes the argument of `act` again.
/// x [R, B, L, C]; weight [R, C, K]; bias [R, 1, C] or none → y [R, B, L, C].
Tensor causal_conv(Graph& graph, const Tensor& x, const Tensor& weight,
                   std::optional<Tensor> bias = std::nullopt,
                   ConvActivation activation = ConvActivation::none);

}  // namespace recallbench
