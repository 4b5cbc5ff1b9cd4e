#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// Rotary position embedding, half-split: in each head of n numbers the pair (x_i, x_{i + n/2}) of
/// the token at position t turns by the angle t · base^(-2i/n):
///   (a, b) → (a cos - b sin, b cos + a sin).
/// x [R, B, L, heads · n], n even → the same shape. Su et al., "RoFormer: enhanced transformer with
/// rotary position embedding", 2021.
Tensor rotary(Graph& graph, const Tensor& x, Index heads, double base = 10000.0);

}  // namespace recallbench
