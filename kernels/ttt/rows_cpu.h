#pragma once

#include <cmath>

#include "kernels/ttt/ttt_cpu.h"

namespace recallbench {

/// What ttt does row by row: the inner LayerNorm and its loss.

/// z → (z - mean) / √(var + eps) in `to`; returns 1 / √(var + eps).
template <class T>
T ttt_normalise(const T* z, Index n, T* to) {
  T mean = 0, square = 0;
#pragma omp simd reduction(+ : mean)
  for (Index j = 0; j < n; ++j)
    mean += z[j];
  mean /= static_cast<T>(n);
#pragma omp simd reduction(+ : square)
  for (Index j = 0; j < n; ++j)
    square += (z[j] - mean) * (z[j] - mean);
  const T inverse = 1 / std::sqrt(square / static_cast<T>(n) + T(kTttNormEps));
  for (Index j = 0; j < n; ++j)
    to[j] = (z[j] - mean) * inverse;
  return inverse;
}

/// The symmetric map that LayerNorm's derivative is: d → inverse (d - mean d - ẑ mean(d ẑ)).
/// `to` may be `d`.
template <class T>
void ttt_project(const T* d, const T* normed, T inverse, Index n, T* to) {
  T mean = 0, along = 0;
#pragma omp simd reduction(+ : mean, along)
  for (Index j = 0; j < n; ++j) {
    mean += d[j];
    along += d[j] * normed[j];
  }
  mean /= static_cast<T>(n);
  along /= static_cast<T>(n);
  for (Index j = 0; j < n; ++j)
    to[j] = inverse * (d[j] - mean - normed[j] * along);
}

/// One token of the inner loss: γ, β, what LN(z) should be (v - k), and ẑ.
template <class T>
struct TttLossRow {
  const T *norm, *norm_bias, *k, *v, *normed;
  T inverse;
  Index n;

  T residual(Index j) const { return norm[j] * normed[j] + norm_bias[j] - (v[j] - k[j]); }

  /// g = ∂ℓ/∂z.
  void gradient(T* g) const {
    for (Index j = 0; j < n; ++j)
      g[j] = residual(j) * norm[j];
    ttt_project(g, normed, inverse, n, g);
  }

  /// From dg to dz; adds to dnorm and dnorm_bias, and writes the target's gradient. With the map
  /// g = inverse (r - mean r - ẑ mean(r ẑ)) the gradient goes to r, to ẑ and to `inverse`.
  void backward(const T* g, const T* dg, T* dz, T* dtarget, T* dnorm, T* dnorm_bias) const {
    T mean_rz = 0, mean_dz = 0, mean_dg_g = 0;
#pragma omp simd reduction(+ : mean_rz, mean_dz, mean_dg_g)
    for (Index j = 0; j < n; ++j) {
      mean_rz += residual(j) * norm[j] * normed[j];
      mean_dz += dg[j] * normed[j];
      mean_dg_g += dg[j] * g[j];
    }
    mean_rz /= static_cast<T>(n);
    mean_dz /= static_cast<T>(n);
    mean_dg_g /= static_cast<T>(n);
    T* dr = dtarget;
    ttt_project(dg, normed, inverse, n, dr);
    for (Index j = 0; j < n; ++j) {
      const T r = residual(j) * norm[j];
      dz[j] = dr[j] * norm[j] * norm[j] - inverse * (dg[j] * mean_rz + r * mean_dz);
      dnorm[j] += dr[j] * (residual(j) + norm[j] * normed[j]);
      dnorm_bias[j] += dr[j] * norm[j];
      dtarget[j] = -dr[j] * norm[j];
    }
    ttt_project(dz, normed, inverse, n, dz);
    for (Index j = 0; j < n; ++j)
      dz[j] -= mean_dg_g * inverse * normed[j];
  }
};

}  // namespace recallbench
