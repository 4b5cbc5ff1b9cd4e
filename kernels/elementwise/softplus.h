#pragma once

#include <Eigen/Core>

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// n numbers at an address that 64 divides. Where n is a multiple of 16, Eigen computes all of them
/// in vectors: equal numbers give equal bits at every place.
template <class T>
using VectorMap = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>, Eigen::Aligned64>;
/// n numbers anywhere.
template <class T>
using ConstRow = Eigen::Map<const Eigen::Array<T, Eigen::Dynamic, 1>>;

/// y = softplus(x) = log(1 + e^x), and x itself above 20; NaN stays NaN. y lies at an address that
/// 64 divides, apart from x. The choice is a loop of its own: an expression with Eigen's select in
/// it is computed number by number, by calls.
template <class T>
void softplus(const T* __restrict x, T* __restrict y, Index n) {
  VectorMap<T>(y, n) = ConstRow<T>(x, n).min(T(20)).exp().log1p();
#pragma omp simd
  for (Index i = 0; i < n; ++i)
    y[i] = x[i] <= T(20) ? y[i] : x[i];
}

/// softplus'(x), 1 above 20; as softplus.
template <class T>
void softplus_slope(const T* __restrict x, T* __restrict slope, Index n) {
  VectorMap<T>(slope, n) = (T(1) + (-ConstRow<T>(x, n)).exp()).inverse();
#pragma omp simd
  for (Index i = 0; i < n; ++i)
    slope[i] = x[i] > T(20) ? T(1) : slope[i];
}

}  // namespace recallbench
