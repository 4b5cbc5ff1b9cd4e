#pragma once

#include <vector>

#include "kernels/graph/graph.h"

namespace recallbench {

/// Which two of a head's f columns turn together, i < f/2.
enum class RotaryPairs {
  neighbours,  ///< 2i and 2i + 1
  halves,      ///< i and i + f/2
};

struct RotaryOptions {
  Index heads = 1;
  Index positions = 1;  ///< angles exist for so many; the token at t turns as position t mod them
  bool at_labels = false;  ///< row i of an example stands at its labelled position i
  RotaryPairs pairs = RotaryPairs::neighbours;
};

/// Rotary position embedding: in each head of f columns pair i turns by the angle
/// θ = t · frequency_i,
///   (a, b) → (a cos θ - b sin θ,  b cos θ + a sin θ),   0 <= i < f/2.
/// x [R, B, n, H f], f even; frequencies [R, 1, f/2] → [R, B, n, H f].
/// Su et al., "RoFormer: enhanced transformer with rotary position embedding", 2021.
Tensor rotary(Graph& graph, const Tensor& x, const Tensor& frequencies,
              const RotaryOptions& options);
/// The same with frequencies θ^(-2i/f), constants.
Tensor rotary(Graph& graph, const Tensor& x, double theta, const RotaryOptions& options);

/// θ^(-2i/f) for i < f/2, f even.
std::vector<double> rotary_frequencies(double theta, Index f);

}  // namespace recallbench
