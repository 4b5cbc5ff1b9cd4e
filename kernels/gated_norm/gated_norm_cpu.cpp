#include "kernels/gated_norm/gated_norm_cpu.h"

#include <Eigen/Core>
#include <cmath>

#include "kernels/tensor/parallel.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

// Rows of a block of work, which has one partial weight gradient.
constexpr Index kRowBlock = 512;

template <class T>
using Row = Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>>;
template <class T>
using ConstRow = Eigen::Map<const Eigen::Array<T, Eigen::Dynamic, 1>>;

template <class T>
void activate_gate(GateActivation f, const ConstRow<T>& z, Row<T> a) {
  a = (T(1) + (-z).exp()).inverse();
  if (f == GateActivation::silu) a *= z;
}

/// a = act(z), slope = act'(z)
template <class T>
void activate_gate(GateActivation f, const ConstRow<T>& z, Row<T> a, Row<T> slope) {
  a = (T(1) + (-z).exp()).inverse();
  if (f == GateActivation::silu) {
    slope = a * (T(1) + z * (T(1) - a));
    a *= z;
  } else {
    slope = a * (T(1) - a);
  }
}

/// Working rows of one block, each as wide as a group.
template <class T>
struct Rows {
  Rows(T* scratch, Index n)
      : dweight(scratch, n),
        a(scratch + n, n),
        slope(scratch + 2 * n, n),
        normed(scratch + 3 * n, n),
        g(scratch + 4 * n, n),
        out(scratch + 5 * n, n) {}
  Row<T> dweight, a, slope, normed, g, out;
};
constexpr Index kRows = 6;

/// One group of one row, with u = x or x ⊙ a, n = u · inverse and g the gradient of n:
/// du = inverse (g - n mean(g ⊙ n)).
template <class T>
void backward_group(const GatedNormOptions& options, const GatedNormViews<T>& in,
                    const Batched<T>& dy, const GatedNormGradients<T>& out, Index r, Index row,
                    Index group, Rows<T>& w) {
  const Index n = in.weight.cols, first = group * n;
  const ConstRow<T> x(in.x.replica(r).row(row) + first, n),
      z(in.gate.replica(r).row(row) + first, n), d(dy.replica(r).row(row) + first, n),
      weight(in.weight.replica(r).data, n);
  const T inverse = in.saved.replica(r).row(row)[group];
  activate_gate<T>(options.activation, z, w.a, w.slope);
  const bool after = options.order == GateOrder::after_norm;
  if (after) {
    w.normed = x * inverse;
    w.g = d * w.a;
    w.out = d * w.normed * weight * w.slope;
    gradient_of(out.gate, r).columns(first, n).write_row(row, w.out.data());
  } else {
    w.normed = x * w.a * inverse;
    w.g = d;
  }
  w.dweight += w.g * w.normed;
  w.g *= weight;
  w.g = inverse * (w.g - w.normed * (w.g * w.normed).mean());
  if (after) {
    gradient_of(out.x, r).columns(first, n).write_row(row, w.g.data());
    return;
  }
  w.out = w.g * w.a;
  gradient_of(out.x, r).columns(first, n).write_row(row, w.out.data());
  w.out = w.g * x * w.slope;
  gradient_of(out.gate, r).columns(first, n).write_row(row, w.out.data());
}

}  // namespace

Index gated_norm_forward_scratch(Index rows, Index group) {
  return blocks_of(rows, kRowBlock) * 2 * group;
}
Index gated_norm_backward_scratch(Index rows, Index group) {
  return blocks_of(rows, kRowBlock) * kRows * group;
}

template <class T>
void gated_norm_forward_cpu(const GatedNormOptions& options, const GatedNormViews<T>& in,
                            const Batched<T>& y, T* scratch) {
  const Index n = in.weight.cols, groups = y.cols / n;
  const bool after = options.order == GateOrder::after_norm;
  for (Index r = 0; r < y.replicas; ++r) {
    const ConstRow<T> weight(in.weight.replica(r).data, n);
    parallel_ranges(y.rows, kRowBlock, [&](Index begin, Index count) {
      T* own = scratch + begin / kRowBlock * 2 * n;
      Row<T> a(own, n), u(own + n, n);
      for (Index i = begin; i < begin + count; ++i) {
        for (Index group = 0; group < groups; ++group) {
          const Index first = group * n;
          const ConstRow<T> x(in.x.replica(r).row(i) + first, n);
          activate_gate<T>(options.activation, {in.gate.replica(r).row(i) + first, n}, a);
          u = x;
          if (!after) u *= a;
          const T inverse = T(1) / std::sqrt(u.square().mean() + static_cast<T>(options.eps));
          in.saved.replica(r).row(i)[group] = inverse;
          Row<T> to(y.replica(r).row(i) + first, n);
          to = u * inverse * weight;
          if (after) to *= a;
        }
      }
    });
  }
}

template <class T>
void gated_norm_backward_cpu(const GatedNormOptions& options, const GatedNormViews<T>& in,
                             const Batched<T>& dy, const GatedNormGradients<T>& out, T* scratch) {
  const Index n = in.weight.cols, groups = dy.cols / n;
  for (Index r = 0; r < dy.replicas; ++r) {
    parallel_ranges(dy.rows, kRowBlock, [&](Index begin, Index count) {
      Rows<T> rows(scratch + begin / kRowBlock * kRows * n, n);
      rows.dweight.setZero();
      for (Index i = begin; i < begin + count; ++i)
        for (Index group = 0; group < groups; ++group)
          backward_group(options, in, dy, out, r, i, group, rows);
    });
    add_shares(scratch, blocks_of(dy.rows, kRowBlock), kRows * n, out.weight, r);
  }
}

#define INSTANTIATE(T)                                                                     \
  template void gated_norm_forward_cpu(const GatedNormOptions&, const GatedNormViews<T>&,  \
                                       const Batched<T>&, T*);                             \
  template void gated_norm_backward_cpu(const GatedNormOptions&, const GatedNormViews<T>&, \
                                        const Batched<T>&, const GatedNormGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
