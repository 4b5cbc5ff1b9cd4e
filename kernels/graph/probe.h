#pragma once

#include <vector>

#include "kernels/tensor/shape.h"

namespace recallbench {

/// What checks of operations and mixers have in common.

/// Fixed standard normal numbers, times `scale`.
std::vector<double> normal_numbers(Index count, std::uint64_t seed, double scale);

/// Weight of element i of output k in the weighted sum of outputs whose gradient is checked.
double output_weight(int output, Index i);

/// max |a - b| over max |b|, or over `least` where that is larger; NaN if either has one, infinity
/// for different sizes.
double relative_error(const std::vector<double>& a, const std::vector<double>& b,
                      double least = 1e-30);
/// max |a|; 0 for none.
double largest_magnitude(const std::vector<double>& a);

}  // namespace recallbench
