#pragma once

#include "kernels/graph/graph.h"
#include "kernels/token_shift/shifted.h"

namespace recallbench {

/// Whose share the weight of a token_shift is.
enum class ShiftWeight {
  current,   ///< y_t = x_{t-1} + weight ⊙ (x_t - x_{t-1})
  previous,  ///< y_t = x_t + weight ⊙ (x_{t-1} - x_t)
};

/// Each token mixed with the one before it, channel by channel, where x before the sequence is 0:
/// x [R, B, L, D] by each of n rows of weights [R, n, D], n at most kMostShifts → n times
/// y [R, B, L, D], for which x is read once. Peng et al., "RWKV: reinventing RNNs for the
/// transformer era", 2023.
std::vector<Tensor> token_shift(Graph& graph, const Tensor& x, const Tensor& weights,
                                ShiftWeight meaning);

}  // namespace recallbench
