#pragma once

#include "kernels/graph/op_case.h"

namespace recallbench {

/// Inputs q, k, v [B, L, H f], rate [B, L, H], step [1, b], norm, norm_bias [H, f], W1, b1 and,
/// for two layers, W2, b2 → o [B, L, H f]: one gradient step of explicit weights a token.
std::vector<HostTensor> ttt_reference(const std::vector<HostTensor>& inputs, double scale);

}  // namespace recallbench
