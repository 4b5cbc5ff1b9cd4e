#include "kernels/group_norm/group_norm_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/tensor/parallel.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

constexpr Index kRowBlock = 1024;

template <class T>
void normalise_group(const T* x, const T* weight, const T* bias, Index n, double eps, T* y,
                     T* saved) {
  T sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
  for (Index c = 0; c < n; ++c)
    sum += x[c];
  const T mean = sum / static_cast<T>(n);
#pragma omp simd reduction(+ : squares)
  for (Index c = 0; c < n; ++c)
    squares += (x[c] - mean) * (x[c] - mean);
  const T inverse = T(1) / std::sqrt(squares / static_cast<T>(n) + static_cast<T>(eps));
  for (Index c = 0; c < n; ++c)
    y[c] = (x[c] - mean) * inverse * weight[c] + bias[c];
  saved[0] = mean;
  saved[1] = inverse;
}

/// With x̂ the normalised group and g = dy ⊙ weight: dx = (g - mean g - x̂ mean(g ⊙ x̂)) / sqrt(..);
/// its shares of dweight and dbias are added.
template <class T>
void group_back(const T* x, const T* weight, const T* saved, const T* dy, Index n, T* dx,
                bool accumulate, T* dweight, T* dbias) {
  const T mean = saved[0], inverse = saved[1];
  T sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
  for (Index c = 0; c < n; ++c) {
    const T normal = (x[c] - mean) * inverse, g = dy[c] * weight[c];
    sum += g;
    product += g * normal;
    dweight[c] += dy[c] * normal;
    dbias[c] += dy[c];
  }
  if (dx == nullptr) return;
  const T mean_g = sum / static_cast<T>(n), mean_product = product / static_cast<T>(n);
  for (Index c = 0; c < n; ++c) {
    const T normal = (x[c] - mean) * inverse;
    const T value = inverse * (dy[c] * weight[c] - mean_g - normal * mean_product);
    dx[c] = accumulate ? dx[c] + value : value;
  }
}

}  // namespace

Index group_norm_scratch(Index rows, Index cols) {
  return blocks_of(rows, kRowBlock) * 2 * cols;
}

template <class T>
void group_norm_forward_cpu(Index groups, double eps, const Batched<T>& x, const Batched<T>& weight,
                            const Batched<T>& bias, const Batched<T>& y, const Batched<T>& saved) {
  const Index n = x.cols / groups;
  for (Index r = 0; r < x.replicas; ++r) {
    const Matrix<T> xs = x.replica(r), ys = y.replica(r), ss = saved.replica(r);
    const T *w = weight.replica(r).data, *b = bias.replica(r).data;
    parallel_ranges(x.rows, kRowBlock, [&](Index first, Index count) {
      for (Index i = first; i < first + count; ++i)
        for (Index g = 0; g < groups; ++g)
          normalise_group(xs.row(i) + g * n, w + g * n, b + g * n, n, eps, ys.row(i) + g * n,
                          ss.row(i) + 2 * g);
    });
  }
}

template <class T>
void group_norm_backward_cpu(Index groups, const Batched<T>& x, const Batched<T>& weight,
                             const Batched<T>& saved, const Batched<T>& dy, const Gradient<T>& dx,
                             const Gradient<T>& dweight, const Gradient<T>& dbias, T* scratch) {
  const Index n = x.cols / groups, cols = x.cols, blocks = blocks_of(x.rows, kRowBlock);
  for (Index r = 0; r < x.replicas; ++r) {
    const Matrix<T> xs = x.replica(r), ds = dy.replica(r), ss = saved.replica(r);
    const T* w = weight.replica(r).data;
    parallel_ranges(x.rows, kRowBlock, [&](Index first, Index count) {
      T *dw = scratch + first / kRowBlock * 2 * cols, *db = dw + cols;
      std::fill_n(dw, 2 * cols, T(0));
      for (Index i = first; i < first + count; ++i)
        for (Index g = 0; g < groups; ++g)
          group_back(xs.row(i) + g * n, w + g * n, ss.row(i) + 2 * g, ds.row(i) + g * n, n,
                     dx.wanted ? dx.view.replica(r).row(i) + g * n : nullptr, dx.accumulate,
                     dw + g * n, db + g * n);
    });
    add_shares(scratch, blocks, 2 * cols, dweight, r);
    add_shares(scratch + cols, blocks, 2 * cols, dbias, r);
  }
}

#define INSTANTIATE(T)                                                                            \
  template void group_norm_forward_cpu(Index, double, const Batched<T>&, const Batched<T>&,       \
                                       const Batched<T>&, const Batched<T>&, const Batched<T>&);  \
  template void group_norm_backward_cpu(Index, const Batched<T>&, const Batched<T>&,              \
                                        const Batched<T>&, const Batched<T>&, const Gradient<T>&, \
                                        const Gradient<T>&, const Gradient<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
