#include "kernels/norm/norm_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/tensor/parallel.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

constexpr Index kRowBlock = 1024;

template <class T>
void normalise_row(const T* x, Index n, bool centred, double eps, T* saved) {
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

/// One row's dx, and its share of dweight and dbias. With x̂ the normalised row and g = dy ⊙ w:
/// dx = rstd (g - [mean g] - x̂ mean(g ⊙ x̂)); the bracket only where the mean is subtracted.
template <class T>
void backward_row(const T* x, const T* w, const T* saved, const T* dy, Index n, bool centred,
                  const Gradient<T>& dx, T* dx_row, T* dw, T* db) {
  const T mean = saved[0], rstd = saved[1];
  T sum_g = 0, sum_gx = 0;
#pragma omp simd reduction(+ : sum_g, sum_gx)
  for (Index j = 0; j < n; ++j) {
    const T normalised = (x[j] - mean) * rstd;
    const T g = dy[j] * w[j];
    sum_g += g;
    sum_gx += g * normalised;
    dw[j] += dy[j] * normalised;
    db[j] += dy[j];
  }
  if (!dx.wanted) return;
  const T mean_g = centred ? sum_g / static_cast<T>(n) : T(0);
  const T mean_gx = sum_gx / static_cast<T>(n);
  if (!dx.accumulate) std::fill_n(dx_row, n, T(0));
  for (Index j = 0; j < n; ++j) {
    const T normalised = (x[j] - mean) * rstd;
    dx_row[j] += rstd * (dy[j] * w[j] - mean_g - normalised * mean_gx);
  }
}

}  // namespace

Index norm_scratch(Index rows, Index cols) {
  return blocks_of(rows, kRowBlock) * 2 * cols;
}

template <class T>
void norm_forward_cpu(const Batched<T>& x, const Batched<T>& weight, const Batched<T>& bias,
                      double eps, const Batched<T>& y, const Batched<T>& saved) {
  const bool centred = bias.data != nullptr;
  for (Index r = 0; r < x.replicas; ++r) {
    const Matrix<T> xs = x.replica(r), ys = y.replica(r), ss = saved.replica(r);
    const T* w = weight.replica(r).data;
    const T* b = centred ? bias.replica(r).data : nullptr;
    parallel_ranges(xs.rows, kRowBlock, [&](Index first, Index count) {
      for (Index i = first; i < first + count; ++i) {
        const T* xi = xs.row(i);
        T* yi = ys.row(i);
        normalise_row(xi, xs.cols, centred, eps, ss.row(i));
        const T mean = ss.row(i)[0], rstd = ss.row(i)[1];
        for (Index j = 0; j < xs.cols; ++j)
          yi[j] = (xi[j] - mean) * rstd * w[j];
        if (centred)
          for (Index j = 0; j < xs.cols; ++j)
            yi[j] += b[j];
      }
    });
  }
}

template <class T>
void norm_backward_cpu(const Batched<T>& x, const Batched<T>& weight, const Batched<T>& saved,
                       const Batched<T>& dy, bool centred, const Gradient<T>& dx,
                       const Gradient<T>& dweight, const Gradient<T>& dbias, T* scratch) {
  const Index n = x.cols;
  for (Index r = 0; r < x.replicas; ++r) {
    const Matrix<T> xs = x.replica(r), dys = dy.replica(r), ss = saved.replica(r);
    const T* w = weight.replica(r).data;
    parallel_ranges(xs.rows, kRowBlock, [&](Index first, Index count) {
      T* dw = scratch + first / kRowBlock * 2 * n;
      T* db = dw + n;
      std::fill_n(dw, 2 * n, T(0));
      for (Index i = first; i < first + count; ++i)
        backward_row(xs.row(i), w, ss.row(i), dys.row(i), n, centred, dx,
                     dx.wanted ? dx.view.replica(r).row(i) : nullptr, dw, db);
    });
    const Index blocks = blocks_of(xs.rows, kRowBlock);
    add_shares(scratch, blocks, 2 * n, dweight, r);
    add_shares(scratch + n, blocks, 2 * n, dbias, r);
  }
}

#define INSTANTIATE(T)                                                                             \
  template void norm_forward_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&, double,  \
                                 const Batched<T>&, const Batched<T>&);                            \
  template void norm_backward_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&,         \
                                  const Batched<T>&, bool, const Gradient<T>&, const Gradient<T>&, \
                                  const Gradient<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
