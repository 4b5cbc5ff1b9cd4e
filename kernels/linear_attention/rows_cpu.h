#pragma once

#include "kernels/tensor/shape.h"

namespace recallbench {

// Loops over one row that the compiler can vectorise.

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
