#include "kernels/ssd/ssd_cpu.h"

#include "kernels/ssd/chunked_cpu.h"
#include "kernels/tensor/head_items.h"
#include "kernels/tensor/rows.h"

namespace recallbench {
namespace {

/// An item is an (example, group).
HeadItems items_of(const SsdSize& s, bool backward) {
  return {s.examples, s.groups, ssd_chunked_scratch(s, backward)};
}
/// Numbers of an example's sums over tokens: da_log, ddt_bias, dd.
Index share(const SsdSize& s) {
  return 2 * s.heads + s.skips;
}

template <class T>
SsdItem<T> make_item(const SsdSize& s, const SsdViews<T>& in, Index r, const HeadItem& at) {
  const Index heads = at.head * s.heads_of_group();
  return {at.of(in.x, r),
          at.of(in.dt, r),
          at.of(in.b, r),
          at.of(in.c, r),
          in.dt_bias.replica(r).data + heads,
          in.a_log.replica(r).data + heads,
          in.d.replica(r).data + at.head * (s.skips / s.groups)};
}

}  // namespace

Index ssd_scratch(const SsdSize& s, bool backward) {
  return items_of(s, backward).scratch() + (backward ? s.examples * share(s) : 0);
}

template <class T>
void ssd_forward_cpu(const SsdSize& s, const SsdViews<T>& in, const Batched<T>& y, T* scratch) {
  for (Index r = 0; r < y.replicas; ++r)
    items_of(s, false).run(scratch, [&](const HeadItem& at, T* own) {
      ssd_chunked_forward(s, make_item(s, in, r, at), at.of(y, r), own);
    });
}

template <class T>
void ssd_backward_cpu(const SsdSize& s, const SsdViews<T>& in, const Batched<T>& dy,
                      const SsdGradients<T>& g, T* scratch) {
  const HeadItems items = items_of(s, true);
  T* const shares = scratch + items.scratch();
  for (Index r = 0; r < dy.replicas; ++r) {
    items.run(scratch, [&](const HeadItem& at, T* own) {
      T* share_of = shares + at.example * share(s);
      T* sums = share_of + at.head * s.heads_of_group();
      const SsdItemGradients<T> gradients{
          at.of(dy, r),   at.of(g.x, r),
          at.of(g.dt, r), at.of(g.b, r),
          at.of(g.c, r),  sums + s.heads,
          sums,           share_of + 2 * s.heads + at.head * (s.skips / s.groups)};
      ssd_chunked_backward(s, make_item(s, in, r, at), gradients, own);
    });
    add_shares(shares, s.examples, share(s), g.a_log, r);
    add_shares(shares + s.heads, s.examples, share(s), g.dt_bias, r);
    add_shares(shares + 2 * s.heads, s.examples, share(s), g.d, r);
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
