#include "kernels/group_norm/group_norm_cpu.h"

#include <algorithm>

#include "kernels/norm/norm_rows_cpu.h"
#include "kernels/tensor/parallel.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

constexpr Index kRowBlock = 1024;

template <class T>
void normalise_group(const T* x, const T* weight, const T* bias, Index n, double eps, T* y,
                     T* saved) {
  norm_row_moments(x, n, true, eps, saved);
  const T mean = saved[0], inverse = saved[1];
  for (Index c = 0; c < n; ++c)
    y[c] = (x[c] - mean) * inverse * weight[c] + bias[c];
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
        for (Index at = 0; at < cols; at += n) {
          const NormRowBack<T> back(xs.row(i) + at, w + at, ss.row(i) + 2 * (at / n),
                                    ds.row(i) + at, n, true, dw + at, db + at);
          if (!dx.wanted) continue;
          T* to = dx.view.replica(r).row(i) + at;
          for (Index c = 0; c < n; ++c) {
            const T value = back.dx(c);
            to[c] = dx.accumulate ? to[c] + value : value;
          }
        }
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
