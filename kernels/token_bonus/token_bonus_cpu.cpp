#include "kernels/token_bonus/token_bonus_cpu.h"

#include <algorithm>

#include "kernels/tensor/parallel.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

constexpr Index kRowBlock = 1024;

template <class T>
T agreement(const T* r, const T* k, const T* weight, Index n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index c = 0; c < n; ++c)
    sum += r[c] * k[c] * weight[c];
  return sum;
}

/// One head of one row: with s the agreement and ds = <dy, v>,
///   do = dy,  dv = s dy,  dr = ds k ⊙ weight,  dk = ds r ⊙ weight,  dweight += ds r ⊙ k.
template <class T>
void head_back(const TokenBonusViews<T>& in, const Batched<T>& dy,
               const TokenBonusGradients<T>& out, Index replica, Index i, Index column, Index n,
               T* dweight) {
  const T *r = in.r.replica(replica).row(i) + column, *k = in.k.replica(replica).row(i) + column,
          *v = in.v.replica(replica).row(i) + column, *d = dy.replica(replica).row(i) + column,
          *weight = in.weight.replica(replica).data + column;
  T ds = 0;
#pragma omp simd reduction(+ : ds)
  for (Index c = 0; c < n; ++c)
    ds += d[c] * v[c];
  const T s = agreement(r, k, weight, n);
  const MatrixGradient<T> to_o = gradient_of(out.o, replica), to_r = gradient_of(out.r, replica),
                          to_k = gradient_of(out.k, replica), to_v = gradient_of(out.v, replica);
  for (Index c = 0; c < n; ++c) {
    to_o.write(i, column + c, d[c]);
    to_r.write(i, column + c, ds * k[c] * weight[c]);
    to_k.write(i, column + c, ds * r[c] * weight[c]);
    to_v.write(i, column + c, s * d[c]);
    dweight[c] += ds * r[c] * k[c];
  }
}

}  // namespace

Index token_bonus_scratch(Index rows, Index cols) {
  return blocks_of(rows, kRowBlock) * cols;
}

template <class T>
void token_bonus_forward_cpu(const TokenBonusViews<T>& in, const Batched<T>& y) {
  const Index n = in.weight.cols, heads = in.weight.rows;
  for (Index replica = 0; replica < y.replicas; ++replica) {
    const Matrix<T> o = in.o.replica(replica), r = in.r.replica(replica), k = in.k.replica(replica),
                    v = in.v.replica(replica), to = y.replica(replica);
    const T* weight = in.weight.replica(replica).data;
    parallel_ranges(y.rows, kRowBlock, [&](Index first, Index count) {
      for (Index i = first; i < first + count; ++i)
        for (Index at = 0; at < heads * n; at += n) {
          const T s = agreement(r.row(i) + at, k.row(i) + at, weight + at, n);
          for (Index c = at; c < at + n; ++c)
            to.row(i)[c] = o.row(i)[c] + s * v.row(i)[c];
        }
    });
  }
}

template <class T>
void token_bonus_backward_cpu(const TokenBonusViews<T>& in, const Batched<T>& dy,
                              const TokenBonusGradients<T>& out, T* scratch) {
  const Index n = in.weight.cols, cols = in.weight.rows * n;
  for (Index replica = 0; replica < dy.replicas; ++replica) {
    parallel_ranges(dy.rows, kRowBlock, [&](Index first, Index count) {
      T* dweight = scratch + first / kRowBlock * cols;
      std::fill_n(dweight, cols, T(0));
      for (Index i = first; i < first + count; ++i)
        for (Index at = 0; at < cols; at += n)
          head_back(in, dy, out, replica, i, at, n, dweight + at);
    });
    add_shares(scratch, blocks_of(dy.rows, kRowBlock), cols, out.weight, replica);
  }
}

#define INSTANTIATE(T)                                                                 \
  template void token_bonus_forward_cpu(const TokenBonusViews<T>&, const Batched<T>&); \
  template void token_bonus_backward_cpu(const TokenBonusViews<T>&, const Batched<T>&, \
                                         const TokenBonusGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
