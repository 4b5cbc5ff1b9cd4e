#pragma once

#include <algorithm>

#include "kernels/tensor/matrix.h"

namespace recallbench {

// Loops over rows of small matrices, for operations that work by chunks of tokens.

/// Row strides are multiples of 16 numbers, so that every row begins at 64 bytes.
inline Index padded_cols(Index cols) {
  return (cols + 15) / 16 * 16;
}

template <class T>
void clear(const Matrix<T>& m) {
  for (Index i = 0; i < m.rows; ++i)
    std::fill_n(m.row(i), m.cols, T(0));
}

/// to = factor · x ⊙ by, number by number.
template <class T>
void multiply_rows(const Matrix<T>& x, const Matrix<T>& by, T factor, const Matrix<T>& to) {
  for (Index i = 0; i < x.rows; ++i) {
    const T *xs = x.row(i), *factors = by.row(i);
    T* out = to.row(i);
    for (Index c = 0; c < x.cols; ++c)
      out[c] = factor * xs[c] * factors[c];
  }
}

/// Σ x ⊙ y over n numbers.
template <class T>
T dot(const T* __restrict x, const T* __restrict y, Index n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index c = 0; c < n; ++c)
    sum += x[c] * y[c];
  return sum;
}

/// The gradient of a row of parameters, of one replica: the blocks' shares, in order.
template <class T>
void add_row_shares(const T* shares, Index blocks, Index stride, const Gradient<T>& to,
                    Index replica) {
  if (!to.wanted) return;
  T* sum = to.view.replica(replica).data;
  if (!to.accumulate) std::fill_n(sum, to.view.cols, T(0));
  for (Index block = 0; block < blocks; ++block)
    for (Index c = 0; c < to.view.cols; ++c)
      sum[c] += shares[block * stride + c];
}

}  // namespace recallbench
