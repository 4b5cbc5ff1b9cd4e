#include "kernels/ttt/ttt_cpu.h"

#include <algorithm>

#include "kernels/tensor/head_items.h"
#include "kernels/ttt/dual_cpu.h"

namespace recallbench {
namespace {

HeadItems items_of(const TttSize& s, bool backward) {
  return {s.examples, s.heads, ttt_dual_scratch(s, backward)};
}

template <class T>
TttItem<T> make_item(const TttSize& s, const TttViews<T>& in, Index r, const HeadItem& at) {
  const Index head = at.head;
  TttItem<T> made{at.of(in.all[0], r),
                  at.of(in.all[1], r),
                  at.of(in.all[2], r),
                  at.of(in.all[3], r),
                  in.all[4].replica(r).data,
                  in.all[5].replica(r).row(head),
                  in.all[6].replica(r).row(head),
                  {},
                  {}};
  for (Index l = 0; l < s.layers(); ++l) {
    made.weight[l] = in.all[7 + 2 * l].replica(r).block(head * s.in(l), s.in(l));
    made.bias[l] = in.all[8 + 2 * l].replica(r).row(head);
  }
  return made;
}

/// Number `first` on of each item's sums → rows of a parameter's gradient: `rows` of each head, or
/// one for all heads; summed over examples (and heads) in order.
template <class T>
void sum_items(const TttSize& s, const T* sums, Index first, Index rows, bool of_heads,
               const Gradient<T>& dp, Index r) {
  if (!dp.wanted) return;
  const Matrix<T> to = dp.view.replica(r);
  const Index step = of_heads ? s.heads : 1;
  parallel_for(to.rows, [&](Index row) {
    if (!dp.accumulate) std::fill_n(to.row(row), to.cols, T(0));
    for (Index item = of_heads ? row / rows : 0; item < s.examples * s.heads; item += step) {
      const T* from = sums + item * ttt_sums(s) + first + row % rows * to.cols;
      for (Index j = 0; j < to.cols; ++j)
        to.row(row)[j] += from[j];
    }
  });
}

}  // namespace

Index ttt_scratch(const TttSize& s, bool backward) {
  const HeadItems items = items_of(s, backward);
  return items.scratch() + (backward ? items.count() * ttt_sums(s) : 0);
}

template <class T>
void ttt_forward_cpu(const TttSize& s, const TttViews<T>& in, const Batched<T>& o, T* scratch) {
  for (Index r = 0; r < o.replicas; ++r)
    items_of(s, false).run(scratch, [&](const HeadItem& at, T* own) {
      ttt_dual_forward(s, make_item(s, in, r, at), at.of(o, r), own);
    });
}

template <class T>
void ttt_backward_cpu(const TttSize& s, const TttViews<T>& in, const Batched<T>& d_o,
                      const TttGradients<T>& g, T* scratch) {
  const HeadItems items = items_of(s, true);
  T* const sums = scratch + items.scratch();
  for (Index r = 0; r < d_o.replicas; ++r) {
    items.run(scratch, [&](const HeadItem& at, T* own) {
      const TttItemGradients<T> gradients{at.of(d_o, r),      at.of(g.all[0], r),
                                          at.of(g.all[1], r), at.of(g.all[2], r),
                                          at.of(g.all[3], r), sums + at.index() * ttt_sums(s)};
      ttt_dual_backward(s, make_item(s, in, r, at), gradients, own);
    });
    Index first = 0;
    const auto take = [&](int k, Index rows, Index cols, bool of_heads) {
      sum_items(s, sums, first, rows, of_heads, g.all[k], r);
      first += rows * cols;
    };
    take(4, 1, s.mini_batch, false);
    take(5, 1, s.head_dim, true);
    take(6, 1, s.head_dim, true);
    for (Index l = 0; l < s.layers(); ++l) {
      take(static_cast<int>(7 + 2 * l), s.in(l), s.out(l), true);
      take(static_cast<int>(8 + 2 * l), 1, s.out(l), true);
    }
  }
}

#define INSTANTIATE(T)                                                                      \
  template void ttt_forward_cpu(const TttSize&, const TttViews<T>&, const Batched<T>&, T*); \
  template void ttt_backward_cpu(const TttSize&, const TttViews<T>&, const Batched<T>&,     \
                                 const TttGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
