#pragma once

#include <cstdint>

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Turns of `positions` tokens by angles t · frequency_i: table [positions, pairs, 2] of cosine and
/// sine.
template <class T>
void rotary_table_cpu(const T* frequencies, Index pairs, Index positions, T* table);

/// What rotary's rows are: `length` rows an example; row i of an example stands at position i, or
/// where `at` is given at at[i], modulo `positions`.
struct RotaryRows {
  Index heads, pairs, positions, length;
  const std::int32_t* at;  ///< [B, n] or null
  bool halves;             ///< pairs are i and i + f/2, not 2i and 2i + 1

  /// Column of the first number of pair j of a row, and how far behind it the second is.
  Index first(Index j) const { return halves ? j / pairs * 2 * pairs + j % pairs : 2 * j; }
  Index apart() const { return halves ? pairs : 1; }
};

/// One replica of rotary; `back` turns the other way, which is the backward pass.
template <class T>
void rotary_cpu(const RotaryRows& rows, const Matrix<T>& x, const T* table, bool back,
                bool accumulate, const Matrix<T>& y);

/// One replica's gradient of the frequencies, [pairs], from x and dy; summed over rows in order.
template <class T>
void rotary_frequencies_backward_cpu(const RotaryRows& rows, const Matrix<T>& x,
                                     const Matrix<T>& dy, const T* table, bool accumulate, T* to);

}  // namespace recallbench
