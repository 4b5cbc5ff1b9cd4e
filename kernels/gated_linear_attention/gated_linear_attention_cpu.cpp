#include "kernels/gated_linear_attention/gated_linear_attention_cpu.h"

#include <algorithm>

#include "kernels/gated_linear_attention/item_cpu.h"
#include "kernels/tensor/arena.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Items are dealt to at most this many lanes, each with scratch of its own; fewer where the
// scratch of all would be more than kScratch numbers.
constexpr Index kLanes = 32;
constexpr Index kScratch = Index{1} << 24;

Index lane_scratch(const GatedLinearAttentionPlan& plan, bool backward) {
  return static_cast<Index>(
      align_up(static_cast<std::size_t>(gated_chunk_scratch(plan, backward))));
}

Index lanes(const GatedLinearAttentionPlan& plan, bool backward) {
  const Index fit = std::max<Index>(1, kScratch / lane_scratch(plan, backward));
  return std::min({kLanes, fit, plan.items()});
}

/// One (example, state head) of one replica, within the columns of a tensor.
struct Place {
  Index replica, example, state_head, length;

  template <class T>
  Matrix<T> of(const Batched<T>& x, Index cols) const {
    if (x.data == nullptr) return {nullptr, 0, 0, 0};
    return x.replica(replica).block(example * length, length).columns(state_head * cols, cols);
  }
};

template <class T>
GatedItem<T> make_item(const GatedLinearAttentionPlan& p, const GatedLinearAttentionViews<T>& in,
                       const Place& place) {
  const Index head = place.state_head;
  return {place.of(in.q, p.group() * p.keys), place.of(in.k, p.keys), place.of(in.v, p.values),
          place.of(in.log_decay, p.keys),
          p.constant() ? p.options.constant_decays[static_cast<std::size_t>(head)] : 0.0};
}

/// body(place, lane's scratch) for every item of every replica.
template <class T, class Body>
void for_items(const GatedLinearAttentionPlan& plan, Index replicas, bool backward, T* scratch,
               const Body& body) {
  const Index stride = lane_scratch(plan, backward), count = lanes(plan, backward);
  const Index heads = plan.options.state_heads;
  for (Index r = 0; r < replicas; ++r)
    parallel_for(count, [&](Index lane) {
      for (Index index = lane; index < plan.items(); index += count)
        body(Place{r, index / heads, index % heads, plan.length}, scratch + lane * stride);
    });
}

}  // namespace

Index gated_linear_attention_scratch(const GatedLinearAttentionPlan& plan, bool backward) {
  return lanes(plan, backward) * lane_scratch(plan, backward);
}

template <class T>
void gated_linear_attention_forward_cpu(const GatedLinearAttentionPlan& plan,
                                        const GatedLinearAttentionViews<T>& in, const Batched<T>& y,
                                        T* scratch) {
  for_items(plan, y.replicas, false, scratch, [&](const Place& place, T* own) {
    gated_forward(plan, make_item(plan, in, place), place.of(y, plan.group() * plan.values), own);
  });
}

template <class T>
void gated_linear_attention_backward_cpu(const GatedLinearAttentionPlan& plan,
                                         const GatedLinearAttentionViews<T>& in,
                                         const Batched<T>& dy,
                                         const GatedLinearAttentionGradients<T>& out, T* scratch) {
  for_items(plan, dy.replicas, true, scratch, [&](const Place& place, T* own) {
    const auto part = [&](const Gradient<T>& to, Index cols) {
      return MatrixGradient<T>{place.of(to.wanted ? to.view : Batched<T>{}, cols), to.accumulate};
    };
    gated_backward(
        plan, make_item(plan, in, place), place.of(dy, plan.group() * plan.values),
        GatedItemGradients<T>{part(out.dq, plan.group() * plan.keys), part(out.dk, plan.keys),
                              part(out.dv, plan.values), part(out.dlog_decay, plan.keys)},
        own);
  });
}

#define INSTANTIATE(T)                                                                         \
  template void gated_linear_attention_forward_cpu(const GatedLinearAttentionPlan&,            \
                                                   const GatedLinearAttentionViews<T>&,        \
                                                   const Batched<T>&, T*);                     \
  template void gated_linear_attention_backward_cpu(                                           \
      const GatedLinearAttentionPlan&, const GatedLinearAttentionViews<T>&, const Batched<T>&, \
      const GatedLinearAttentionGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
