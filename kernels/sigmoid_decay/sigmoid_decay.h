#pragma once

#include <limits>

#include "kernels/graph/graph.h"

namespace recallbench {

// Decays of recurrences, by their logarithms g <= 0: a decay e^g near 0 or 1 keeps its digits.

struct SigmoidDecayOptions {
  double divisor = 1.0;      ///< above 0; the decay is a sigmoid to the power of 1 / divisor
  double lower_bound = 0.0;  ///< λ in [0, 1), of the sigmoid
  double clamp_min = -std::numeric_limits<double>::infinity();  ///< of g; no gradient below it
};

/// g = max(ln(λ + (1 - λ) σ(x)) / divisor, clamp_min), number by number; x [R, ..., cols].
Tensor sigmoid_decay(Graph& graph, const Tensor& x, const SigmoidDecayOptions& options);

/// g = -bound · σ(x), number by number: a decay between e^-bound and 1.
Tensor bounded_decay(Graph& graph, const Tensor& x, double bound);

/// 1 - e^g, number by number: what a cell that keeps e^g of its state leaves for the new token.
Tensor decay_complement(Graph& graph, const Tensor& g);

}  // namespace recallbench
