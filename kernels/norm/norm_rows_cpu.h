#pragma once

#include <cmath>

#include "kernels/tensor/shape.h"

namespace recallbench {

// One row of a norm, or one group of a row: n numbers x, with x̂ = (x - mean) rstd.

/// saved = mean, 0 where not `centred`, and rstd = 1 / sqrt(var + eps).
template <class T>
void norm_row_moments(const T* x, Index n, bool centred, double eps, T* saved) {
  T sum = 0;
  if (centred) {
#pragma omp simd reduction(+ : sum)
    for (Index j = 0; j < n; ++j)
      sum += x[j];
  }
  const T mean = sum / static_cast<T>(n);
  T squares = 0;
#pragma omp simd reduction(+ : squares)
  for (Index j = 0; j < n; ++j)
    squares += (x[j] - mean) * (x[j] - mean);
  saved[0] = mean;
  saved[1] = T(1) / std::sqrt(squares / static_cast<T>(n) + static_cast<T>(eps));
}

/// Backward of one row. With g = dy ⊙ w: dx = rstd (g - [mean g] - x̂ mean(g ⊙ x̂)), the bracket only
/// where the mean is subtracted.
template <class T>
struct NormRowBack {
  const T *x, *w, *dy;
  T mean, rstd, mean_g, mean_gx;

  /// Adds the row's shares of the weight's and the bias's gradients to dw and db.
  NormRowBack(const T* xs, const T* ws, const T* saved, const T* dys, Index n, bool centred, T* dw,
              T* db)
      : x(xs), w(ws), dy(dys), mean(saved[0]), rstd(saved[1]) {
    const T m = saved[0], s = saved[1];
    T sum_g = 0, sum_gx = 0;
#pragma omp simd reduction(+ : sum_g, sum_gx)
    for (Index j = 0; j < n; ++j) {
      const T normalised = (xs[j] - m) * s;
      const T g = dys[j] * ws[j];
      sum_g += g;
      sum_gx += g * normalised;
      dw[j] += dys[j] * normalised;
      db[j] += dys[j];
    }
    mean_g = centred ? sum_g / static_cast<T>(n) : T(0);
    mean_gx = sum_gx / static_cast<T>(n);
  }

  T dx(Index j) const {
    return rstd * (dy[j] * w[j] - mean_g - (x[j] - mean) * rstd * mean_gx);
  }
};

}  // namespace recallbench
