#include "mixers/h3/heads_cpu.h"

#include <algorithm>

#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

constexpr Index kRowBlock = 256;

/// body(replica, row), over all rows of all replicas.
template <class T, class Body>
void for_rows(const Batched<T>& shape, const Body& body) {
  for (Index r = 0; r < shape.replicas; ++r)
    parallel_ranges(shape.rows, kRowBlock, [&](Index first, Index count) {
      for (Index row = first; row < first + count; ++row)
        body(r, row);
    });
}

/// The row of a gradient that is to be added to, or null.
template <class T>
T* begin_row(const Gradient<T>& g, Index r, Index row) {
  if (!g.wanted) return nullptr;
  T* to = g.view.replica(r).row(row);
  if (!g.accumulate) std::fill_n(to, g.view.cols, T(0));
  return to;
}

/// to[h] += d[h] x[h] for each head h, with the strides of x and `to`.
template <class T>
void add_products(Index heads, const T* d, const T* x, Index x_stride, T* to, Index to_stride) {
#pragma omp simd
  for (Index h = 0; h < heads; ++h)
    to[h * to_stride] += d[h] * x[h * x_stride];
}

}  // namespace

template <class T>
void head_outer_cpu(const Batched<T>& k, const Batched<T>& v, Index head_dim, const Batched<T>& p) {
  const Index heads = k.cols / head_dim;
  for_rows(p, [&](Index r, Index row) {
    const T *ks = k.replica(r).row(row), *vs = v.replica(r).row(row);
    T* to = p.replica(r).row(row);
    for (Index i = 0; i < head_dim; ++i)
      for (Index j = 0; j < head_dim; ++j, to += heads)
        for (Index h = 0; h < heads; ++h)
          to[h] = ks[h * head_dim + i] * vs[h * head_dim + j];
  });
}

template <class T>
void head_outer_backward_cpu(const Batched<T>& k, const Batched<T>& v, const Batched<T>& dp,
                             Index head_dim, const Gradient<T>& dk, const Gradient<T>& dv) {
  const Index heads = k.cols / head_dim;
  for_rows(dp, [&](Index r, Index row) {
    const T *ks = k.replica(r).row(row), *vs = v.replica(r).row(row), *d = dp.replica(r).row(row);
    T *to_k = begin_row(dk, r, row), *to_v = begin_row(dv, r, row);
    for (Index i = 0; i < head_dim; ++i)
      for (Index j = 0; j < head_dim; ++j, d += heads) {
        if (to_k != nullptr) add_products(heads, d, vs + j, head_dim, to_k + i, head_dim);
        if (to_v != nullptr) add_products(heads, d, ks + i, head_dim, to_v + j, head_dim);
      }
  });
}

template <class T>
void head_inner_cpu(const Batched<T>& q, const Batched<T>& p, Index head_dim, const Batched<T>& o) {
  const Index heads = q.cols / head_dim;
  for_rows(o, [&](Index r, Index row) {
    const T *qs = q.replica(r).row(row), *ps = p.replica(r).row(row);
    T* to = o.replica(r).row(row);
    for (Index j = 0; j < head_dim; ++j)
      for (Index h = 0; h < heads; ++h) {
        T sum = 0;
        for (Index i = 0; i < head_dim; ++i)
          sum += qs[h * head_dim + i] * ps[(i * head_dim + j) * heads + h];
        to[j * heads + h] = sum;
      }
  });
}

template <class T>
void head_inner_backward_cpu(const Batched<T>& q, const Batched<T>& p, const Batched<T>& d_o,
                             Index head_dim, const Gradient<T>& dq, const Gradient<T>& dp) {
  const Index heads = q.cols / head_dim;
  for_rows(d_o, [&](Index r, Index row) {
    const T *qs = q.replica(r).row(row), *ps = p.replica(r).row(row), *d = d_o.replica(r).row(row);
    T *to_q = begin_row(dq, r, row), *to_p = begin_row(dp, r, row);
    for (Index i = 0; i < head_dim; ++i)
      for (Index j = 0; j < head_dim; ++j, ps += heads) {
        const T* dj = d + j * heads;
        if (to_q != nullptr) add_products(heads, dj, ps, 1, to_q + i, head_dim);
        if (to_p != nullptr)
          add_products(heads, dj, qs + i, head_dim, to_p + (i * head_dim + j) * heads, 1);
      }
  });
}

#define INSTANTIATE(T)                                                                           \
  template void head_outer_cpu(const Batched<T>&, const Batched<T>&, Index, const Batched<T>&);  \
  template void head_outer_backward_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&, \
                                        Index, const Gradient<T>&, const Gradient<T>&);          \
  template void head_inner_cpu(const Batched<T>&, const Batched<T>&, Index, const Batched<T>&);  \
  template void head_inner_backward_cpu(const Batched<T>&, const Batched<T>&, const Batched<T>&, \
                                        Index, const Gradient<T>&, const Gradient<T>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
