#include "mixers/h3/heads_cpu.h"

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

template <class T>
T* row_of(const Gradient<T>& g, Index r, Index row) {
  return g.wanted ? g.view.replica(r).row(row) : nullptr;
}

template <class T>
void put(T& to, bool accumulate, T value) {
  to = accumulate ? to + value : value;
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
    T *to_k = row_of(dk, r, row), *to_v = row_of(dv, r, row);
    for (Index h = 0; h < heads; ++h)
      for (Index i = 0; i < head_dim; ++i) {
        T sum_k = 0, sum_v = 0;
        for (Index j = 0; j < head_dim; ++j) {
          sum_k += d[(i * head_dim + j) * heads + h] * vs[h * head_dim + j];
          sum_v += d[(j * head_dim + i) * heads + h] * ks[h * head_dim + j];
        }
        if (to_k != nullptr) put(to_k[h * head_dim + i], dk.accumulate, sum_k);
        if (to_v != nullptr) put(to_v[h * head_dim + i], dv.accumulate, sum_v);
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
    T *to_q = row_of(dq, r, row), *to_p = row_of(dp, r, row);
    for (Index i = 0; i < head_dim; ++i)
      for (Index h = 0; h < heads; ++h) {
        T sum = 0;
        for (Index j = 0; j < head_dim; ++j) {
          const Index at = (i * head_dim + j) * heads + h;
          sum += d[j * heads + h] * ps[at];
          if (to_p != nullptr)
            put(to_p[at], dp.accumulate, qs[h * head_dim + i] * d[j * heads + h]);
        }
        if (to_q != nullptr) put(to_q[h * head_dim + i], dq.accumulate, sum);
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
