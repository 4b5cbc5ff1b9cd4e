#include "kernels/token_shift/token_shift_cpu.h"

#include <algorithm>

#include "kernels/tensor/parallel.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

/// y = x + share · (before - x), with share the previous token's; `before` null: 0.
template <class T>
void mix_row(bool of_previous, const T* x, const T* before, const T* weight, Index n, T* y) {
  for (Index c = 0; c < n; ++c) {
    const T past = before == nullptr ? T(0) : before[c];
    y[c] = of_previous ? x[c] + weight[c] * (past - x[c]) : past + weight[c] * (x[c] - past);
  }
}

/// dx_t = (1 - share) dy_t + share dy_{t+1}; `after` null: 0.
template <class T>
void mix_row_back(bool of_previous, const T* dy, const T* after, const T* weight, bool accumulate,
                  Index n, T* dx) {
  for (Index c = 0; c < n; ++c) {
    const T later = after == nullptr ? T(0) : after[c];
    const T value =
        of_previous ? dy[c] + weight[c] * (later - dy[c]) : later + weight[c] * (dy[c] - later);
    dx[c] = accumulate ? dx[c] + value : value;
  }
}

/// One example's share of dweight.
template <class T>
void weight_gradient(bool of_previous, const Matrix<T>& x, const Matrix<T>& dy, T* sum) {
  std::fill_n(sum, x.cols, T(0));
  const T sign = of_previous ? T(-1) : T(1);
  for (Index t = 0; t < x.rows; ++t) {
    const T *now = x.row(t), *gradient = dy.row(t);
    for (Index c = 0; c < x.cols; ++c) {
      const T past = t == 0 ? T(0) : x.row(t - 1)[c];
      sum[c] += sign * gradient[c] * (now[c] - past);
    }
  }
}

}  // namespace

Index token_shift_scratch(Index examples, Index weights) {
  return examples * weights;
}

template <class T>
void token_shift_cpu(ShiftWeight meaning, Index length, const Batched<T>& x,
                     const Batched<T>& weights, const Shifted<T>& y) {
  const bool of_previous = meaning == ShiftWeight::previous;
  for (Index r = 0; r < x.replicas; ++r) {
    const Matrix<T> from = x.replica(r), w = weights.replica(r);
    parallel_for(x.rows / length, [&](Index example) {
      for (Index k = 0; k < w.rows; ++k)
        for (Index row = example * length; row < (example + 1) * length; ++row)
          mix_row(of_previous, from.row(row), row % length == 0 ? nullptr : from.row(row - 1),
                  w.row(k), x.cols, y.of[k].replica(r).row(row));
    });
  }
}

template <class T>
void token_shift_backward_cpu(ShiftWeight meaning, Index length, const Batched<T>& x,
                              const Batched<T>& weights, const Shifted<T>& dy,
                              const Gradient<T>& dx, const Gradient<T>& dweights, T* scratch) {
  const bool of_previous = meaning == ShiftWeight::previous;
  const Index examples = x.rows / length, n = x.cols, shares = weights.rows * n;
  for (Index r = 0; r < x.replicas; ++r) {
    const Matrix<T> from = x.replica(r), w = weights.replica(r);
    parallel_for(examples, [&](Index example) {
      const Index first = example * length, last = first + length - 1;
      for (Index k = 0; k < w.rows; ++k) {
        const Matrix<T> d = dy.of[k].replica(r);
        for (Index row = first; dx.wanted && row <= last; ++row)
          mix_row_back(of_previous, d.row(row), row == last ? nullptr : d.row(row + 1), w.row(k),
                       dx.accumulate || k > 0, n, dx.view.replica(r).row(row));
        if (dweights.wanted)
          weight_gradient(of_previous, from.block(first, length), d.block(first, length),
                          scratch + example * shares + k * n);
      }
    });
    add_shares(scratch, examples, shares, dweights, r);
  }
}

#define INSTANTIATE(T)                                                                             \
  template void token_shift_cpu(ShiftWeight, Index, const Batched<T>&, const Batched<T>&,          \
                                const Shifted<T>&);                                                \
  template void token_shift_backward_cpu(ShiftWeight, Index, const Batched<T>&, const Batched<T>&, \
                                         const Shifted<T>&, const Gradient<T>&,                    \
                                         const Gradient<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
