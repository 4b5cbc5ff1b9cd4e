#pragma once

#include <vector>

#include "kernels/graph/graph.h"

namespace recallbench {

struct RotaryOptions {
  Index heads = 1;
  Index positions = 1;  ///< angles exist for so many; the token at t turns as position t mod them
  bool at_labels = false;  ///< row i of an example stands at its labelled position i
};

/// Rotary position embedding of neighbouring pairs, in each head of f columns: with the angle
/// θ = t · frequency_i,
///   (y_2i, y_2i+1) = (x_2i cos θ - x_2i+1 sin θ,  x_2i+1 cos θ + x_2i sin θ),   0 <= i < f/2.
/// x [R, B, n, H f], f even; frequencies [R, 1, f/2] → [R, B, n, H f].
/// Su et al., "RoFormer: enhanced transformer with rotary position embedding", 2021.
Tensor rotary(Graph& graph, const Tensor& x, const Tensor& frequencies,
              const RotaryOptions& options);
/// The same with frequencies θ^(-2i/f), constants.
Tensor rotary(Graph& graph, const Tensor& x, double theta, const RotaryOptions& options);

/// θ^(-2i/f) for i < f/2, f even.
std::vector<double> rotary_frequencies(double theta, Index f);

}  // namespace recallbench
