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
