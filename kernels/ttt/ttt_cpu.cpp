#include "kernels/ttt/ttt_cpu.h"

#include <algorithm>

#include "kernels/tensor/arena.h"
#include "kernels/tensor/parallel.h"
#include "kernels/ttt/dual_cpu.h"

namespace recallbench {
namespace {

// Items are dealt to at most this many lanes, each with scratch of its own; fewer where the
// scratch of all would be more than kScratch numbers.
constexpr Index kLanes = 32;
constexpr Index kScratch = Index{1} << 24;

Index items(const TttSize& s) {
  return s.examples * s.heads;
}
Index lane_scratch(const TttSize& s, bool backward) {
  return static_cast<Index>(align_up(static_cast<std::size_t>(ttt_dual_scratch(s, backward))));
}
Index lanes(const TttSize& s, bool backward) {
  const Index fit = std::max<Index>(1, kScratch / lane_scratch(s, backward));
  return std::min({kLanes, fit, items(s)});
}

/// body(item, lane's scratch) for every (example, head).
template <class T, class Body>
void for_items(const TttSize& s, bool backward, T* scratch, const Body& body) {
  const Index stride = lane_scratch(s, backward), count = lanes(s, backward);
  parallel_for(count, [&](Index lane) {
    for (Index item = lane; item < items(s); item += count)
      body(item, scratch + lane * stride);
  });
}

/// The rows of an item's example and the columns of its head.
template <class T>
Matrix<T> part(const TttSize& s, const Matrix<T>& all, Index item) {
  const Index cols = all.cols / s.heads;
  return all.block(item / s.heads * s.length, s.length).columns(item % s.heads * cols, cols);
}

template <class T>
TttItem<T> make_item(const TttSize& s, const TttViews<T>& in, Index r, Index item) {
  const Index head = item % s.heads;
  const auto tokens = [&](int k) { return part(s, in.all[k].replica(r), item); };
  TttItem<T> made{tokens(0),
                  tokens(1),
                  tokens(2),
                  tokens(3),
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
    for (Index item = of_heads ? row / rows : 0; item < items(s); item += step) {
      const T* from = sums + item * ttt_sums(s) + first + row % rows * to.cols;
      for (Index j = 0; j < to.cols; ++j)
        to.row(row)[j] += from[j];
    }
  });
}

}  // namespace

Index ttt_scratch(const TttSize& s, bool backward) {
  return lanes(s, backward) * lane_scratch(s, backward) + (backward ? items(s) * ttt_sums(s) : 0);
}

template <class T>
void ttt_forward_cpu(const TttSize& s, const TttViews<T>& in, const Batched<T>& o, T* scratch) {
  for (Index r = 0; r < o.replicas; ++r)
    for_items(s, false, scratch, [&](Index item, T* own) {
      ttt_dual_forward(s, make_item(s, in, r, item), part(s, o.replica(r), item), own);
    });
}

template <class T>
void ttt_backward_cpu(const TttSize& s, const TttViews<T>& in, const Batched<T>& d_o,
                      const TttGradients<T>& g, T* scratch) {
  T* const sums = scratch + lanes(s, true) * lane_scratch(s, true);
  for (Index r = 0; r < d_o.replicas; ++r) {
    for_items(s, true, scratch, [&](Index item, T* own) {
      const auto rows = [&](int k) -> MatrixGradient<T> {
        if (!g.all[k].wanted) return {};
        return {part(s, g.all[k].view.replica(r), item), g.all[k].accumulate};
      };
      ttt_dual_backward(s, make_item(s, in, r, item),
                        TttItemGradients<T>{part(s, d_o.replica(r), item), rows(0), rows(1),
                                            rows(2), rows(3), sums + item * ttt_sums(s)},
                        own);
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
