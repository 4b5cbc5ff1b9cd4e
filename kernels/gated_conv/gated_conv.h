#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// A gated short convolution with its residual (the short filter of Arora et al. 2023, "Zoology",
/// arXiv 2312.04927), in one operation:
///   y = causal_conv(u, weight, bias) ⊙ gate + u
/// u, gate [R, B, L, C]; weight [R, C, K]; bias [R, 1, C] → y [R, B, L, C], with the same bits as
/// causal_conv, multiply and add one after another on a CPU. Backward computes the convolution
/// again instead of keeping it.
Tensor gated_conv(Graph& graph, const Tensor& u, const Tensor& gate, const Tensor& weight,
                  const Tensor& bias);

}  // namespace recallbench
