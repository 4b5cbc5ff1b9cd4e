#pragma once

#include <algorithm>

#include "kernels/tensor/matrix_gradient.h"

namespace recallbench {

// Loops over rows of small matrices, for operations that work by chunks of tokens or blocks of
// rows.

/// Row strides are multiples of 16 numbers, so that every row begins at 64 bytes.
inline Index padded_cols(Index cols) {
  return (cols + 15) / 16 * 16;
}

template <class T>
void clear(const Matrix<T>& m) {
  for (Index i = 0; i < m.rows; ++i)
    std::fill_n(m.row(i), m.cols, T(0));
}

template <class T>
void copy_rows(const Matrix<T>& from, const Matrix<T>& to) {
  for (Index i = 0; i < from.rows; ++i)
    std::copy_n(from.row(i), from.cols, to.row(i));
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

/// Σ x ⊙ y over n numbers, in an order that is the compiler's.
template <class T>
T dot(const T* __restrict x, const T* __restrict y, Index n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index c = 0; c < n; ++c)
    sum += x[c] * y[c];
  return sum;
}

/// Σ term(j) for j < n, in kSumLanes fixed partial sums, added in order at the end: the bits depend
/// on n alone.
inline constexpr Index kSumLanes = 16;
template <class T, class Term>
T sum_terms(Index n, const Term& term) {
  T lanes[kSumLanes] = {};
  Index j = 0;
  for (; j + kSumLanes <= n; j += kSumLanes)
    for (Index l = 0; l < kSumLanes; ++l)
      lanes[l] += term(j + l);
  for (; j < n; ++j)
    lanes[j % kSumLanes] += term(j);
  T sum = 0;
  for (const T lane : lanes)
    sum += lane;
  return sum;
}

template <class T>
T sum_row(const T* x, Index n) {
  return sum_terms<T>(n, [x](Index j) { return x[j]; });
}

template <class T>
T dot_in_lanes(const T* x, const T* y, Index n) {
  return sum_terms<T>(n, [x, y](Index j) { return x[j] * y[j]; });
}

/// The gradient of parameters, of one replica: the blocks' shares, in order. A share holds all of
/// the parameters, row by row; the next one begins `stride` numbers on.
template <class T>
void add_shares(const T* shares, Index blocks, Index stride, const Gradient<T>& to, Index replica) {
  const MatrixGradient<T> sum = gradient_of(to, replica);
  if (!sum.wanted()) return;
  sum.begin_sum();
  const Index cols = sum.to.cols;
  for (Index block = 0; block < blocks; ++block)
    for (Index i = 0; i < sum.to.rows; ++i)
      for (Index c = 0; c < cols; ++c)
        sum.to.row(i)[c] += shares[block * stride + i * cols + c];
}

}  // namespace recallbench
