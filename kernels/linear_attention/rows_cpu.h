#pragma once

#include "kernels/tensor/shape.h"

namespace recallbench {

// Loops over one row that the compiler can vectorise. Sums run in kSumLanes fixed partial sums,
// added in order at the end: their bits depend on n alone.
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
T dot_rows(const T* x, const T* y, Index n) {
  return sum_terms<T>(n, [x, y](Index j) { return x[j] * y[j]; });
}

template <class T>
void scale_row(T* x, Index n, T factor) {
  for (Index j = 0; j < n; ++j)
    x[j] *= factor;
}

template <class T>
void add_to_row(T* x, T summand, Index n) {
  for (Index j = 0; j < n; ++j)
    x[j] += summand;
}

/// s → 1 + s + s²/2
template <class T>
void taylor_row(T* s, Index n) {
  for (Index j = 0; j < n; ++j)
    s[j] = 1 + s[j] * (1 + T(0.5) * s[j]);
}

/// dw → (dw + d) · (1 + s), the gradient of s; s → 1 + s + s²/2.
template <class T>
void taylor_gradient_row(T* __restrict s, T* __restrict dw, T d, Index n) {
  for (Index j = 0; j < n; ++j) {
    const T slope = 1 + s[j];
    dw[j] = (dw[j] + d) * slope;
    s[j] = slope + T(0.5) * s[j] * s[j];
  }
}

}  // namespace recallbench
