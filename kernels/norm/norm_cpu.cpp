#include "kernels/norm/norm_cpu.h"

#include <algorithm>

#include "kernels/norm/norm_rows_cpu.h"
#include "kernels/tensor/parallel.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

constexpr Index kRowBlock = 1024;

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
        norm_row_moments(xi, xs.cols, centred, eps, ss.row(i));
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
      for (Index i = first; i < first + count; ++i) {
        const NormRowBack<T> back(xs.row(i), w, ss.row(i), dys.row(i), n, centred, dw, db);
        if (!dx.wanted) continue;
        T* to = dx.view.replica(r).row(i);
        if (!dx.accumulate) std::fill_n(to, n, T(0));
        for (Index j = 0; j < n; ++j)
          to[j] += back.dx(j);
      }
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
