#pragma once

#include <vector>

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Cosine and sine of every angle, [L, n / 2, 2].
struct RotaryTable {
  Index length, pairs;
  std::vector<double> values;
};
RotaryTable rotary_table(Index length, Index head_numbers, double base);

/// to = x turned by the table's angles, or by their negatives where `back`; or to += that.
/// x [R, B·L, heads · n].
template <class T>
void rotary_cpu(const RotaryTable& table, const Batched<T>& x, bool back, const Gradient<T>& to);

}  // namespace recallbench
