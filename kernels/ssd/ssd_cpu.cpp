#include "kernels/ssd/ssd_cpu.h"

#include <algorithm>

#include "kernels/ssd/chunked_cpu.h"
#include "kernels/tensor/arena.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Items are dealt to at most this many lanes, each with scratch of its own; fewer where the
// scratch of all would be more than kScratch numbers.
constexpr Index kLanes = 32;
constexpr Index kScratch = Index{1} << 24;

Index items(const SsdSize& s) {
  return s.examples * s.groups;
}
Index lane_scratch(const SsdSize& s, bool backward) {
  return static_cast<Index>(align_up(static_cast<std::size_t>(ssd_chunked_scratch(s, backward))));
}
Index lanes(const SsdSize& s, bool backward) {
  const Index fit = std::max<Index>(1, kScratch / lane_scratch(s, backward));
  return std::min({kLanes, fit, items(s)});
}
/// Numbers of an example's sums over tokens: da_log, ddt_bias, dd.
Index share(const SsdSize& s) {
  return 2 * s.heads + s.skips;
}

/// body(example, group, lane's scratch) for every item.
template <class T, class Body>
void for_items(const SsdSize& s, bool backward, T* scratch, const Body& body) {
  const Index stride = lane_scratch(s, backward), count = lanes(s, backward);
  parallel_for(count, [&](Index lane) {
    for (Index item = lane; item < items(s); item += count)
      body(item / s.groups, item % s.groups, scratch + lane * stride);
  });
}

/// The rows of an example and the columns of a group.
template <class T>
Matrix<T> part(const SsdSize& s, const Matrix<T>& all, Index example, Index group) {
  const Index cols = all.cols / s.groups;
  return all.block(example * s.length, s.length).columns(group * cols, cols);
}

template <class T>
SsdItem<T> make_item(const SsdSize& s, const SsdViews<T>& in, Index r, Index example, Index group) {
  const Index heads = group * s.heads_of_group();
  return {part(s, in.x.replica(r), example, group),
          part(s, in.dt.replica(r), example, group),
          part(s, in.b.replica(r), example, group),
          part(s, in.c.replica(r), example, group),
          in.dt_bias.replica(r).data + heads,
          in.a_log.replica(r).data + heads,
          in.d.replica(r).data + group * (s.skips / s.groups)};
}

/// dp = the examples' shares from number `first` on, in order.
template <class T>
void sum_shares(const SsdSize& s, const T* shares, Index first, const Gradient<T>& dp, Index r) {
  if (!dp.wanted) return;
  T* to = dp.view.replica(r).data;
  for (Index i = 0; i < dp.view.cols; ++i) {
    T sum = dp.accumulate ? to[i] : T(0);
    for (Index example = 0; example < s.examples; ++example)
      sum += shares[example * share(s) + first + i];
    to[i] = sum;
  }
}

}  // namespace

Index ssd_scratch(const SsdSize& s, bool backward) {
  return lanes(s, backward) * lane_scratch(s, backward) + (backward ? s.examples * share(s) : 0);
}

template <class T>
void ssd_forward_cpu(const SsdSize& s, const SsdViews<T>& in, const Batched<T>& y, T* scratch) {
  for (Index r = 0; r < y.replicas; ++r)
    for_items(s, false, scratch, [&](Index example, Index group, T* own) {
      ssd_chunked_forward(s, make_item(s, in, r, example, group),
                          part(s, y.replica(r), example, group), own);
    });
}

template <class T>
void ssd_backward_cpu(const SsdSize& s, const SsdViews<T>& in, const Batched<T>& dy,
                      const SsdGradients<T>& g, T* scratch) {
  T* const shares = scratch + lanes(s, true) * lane_scratch(s, true);
  for (Index r = 0; r < dy.replicas; ++r) {
    for_items(s, true, scratch, [&](Index example, Index group, T* own) {
      const auto rows = [&](const Gradient<T>& d) -> MatrixGradient<T> {
        if (!d.wanted) return {};
        return {part(s, d.view.replica(r), example, group), d.accumulate};
      };
      T* sums = shares + example * share(s) + group * s.heads_of_group();
      T* skips = shares + example * share(s) + 2 * s.heads + group * (s.skips / s.groups);
      const SsdItemGradients<T> item{part(s, dy.replica(r), example, group),
                                     rows(g.x),
                                     rows(g.dt),
                                     rows(g.b),
                                     rows(g.c),
                                     sums + s.heads,
                                     sums,
                                     skips};
      ssd_chunked_backward(s, make_item(s, in, r, example, group), item, own);
    });
    sum_shares(s, shares, 0, g.a_log, r);
    sum_shares(s, shares, s.heads, g.dt_bias, r);
    sum_shares(s, shares, 2 * s.heads, g.d, r);
  }
}

#define INSTANTIATE(T)                                                                      \
  template void ssd_forward_cpu(const SsdSize&, const SsdViews<T>&, const Batched<T>&, T*); \
  template void ssd_backward_cpu(const SsdSize&, const SsdViews<T>&, const Batched<T>&,     \
                                 const SsdGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
