#include "kernels/generalized_delta_rule/generalized_delta_rule_cpu.h"

#include <algorithm>

#include "kernels/generalized_delta_rule/item_cpu.h"
#include "kernels/tensor/arena.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Items are dealt to at most this many lanes, each with scratch of its own; fewer where the
// scratch of all would be more than kScratch numbers.
constexpr Index kLanes = 32;
constexpr Index kScratch = Index{1} << 24;

Index lane_scratch(const GeneralizedDeltaRulePlan& plan, bool backward) {
  return static_cast<Index>(
      align_up(static_cast<std::size_t>(generalized_delta_chunk_scratch(plan, backward))));
}

Index lanes(const GeneralizedDeltaRulePlan& plan, bool backward) {
  const Index fit = std::max<Index>(1, kScratch / lane_scratch(plan, backward));
  return std::min({kLanes, fit, plan.items()});
}

/// One (example, head) of one replica, within the columns of a tensor.
struct Place {
  Index replica, example, head, length;

  template <class T>
  Matrix<T> of(const Batched<T>& x, Index cols) const {
    return x.replica(replica).block(example * length, length).columns(head * cols, cols);
  }
  template <class T>
  MatrixGradient<T> of(const Gradient<T>& to, Index cols) const {
    return {to.wanted ? of(to.view, cols) : Matrix<T>{nullptr, 0, 0, 0}, to.accumulate};
  }
};

template <class T>
GeneralizedDeltaItem<T> make_item(const GeneralizedDeltaRulePlan& p,
                                  const GeneralizedDeltaRuleViews<T>& in, const Place& at) {
  return {at.of(in.q, p.keys),         at.of(in.k, p.keys),       at.of(in.v, p.values),
          at.of(in.log_decay, p.keys), at.of(in.removal, p.keys), at.of(in.rate, p.keys)};
}

/// body(place, lane's scratch) for every item of every replica.
template <class T, class Body>
void for_items(const GeneralizedDeltaRulePlan& plan, Index replicas, bool backward, T* scratch,
               const Body& body) {
  const Index stride = lane_scratch(plan, backward), count = lanes(plan, backward);
  for (Index r = 0; r < replicas; ++r)
    parallel_for(count, [&](Index lane) {
      for (Index index = lane; index < plan.items(); index += count)
        body(Place{r, index / plan.heads, index % plan.heads, plan.length},
             scratch + lane * stride);
    });
}

}  // namespace

Index generalized_delta_rule_scratch(const GeneralizedDeltaRulePlan& plan, bool backward) {
  return lanes(plan, backward) * lane_scratch(plan, backward);
}

template <class T>
void generalized_delta_rule_forward_cpu(const GeneralizedDeltaRulePlan& plan,
                                        const GeneralizedDeltaRuleViews<T>& in, const Batched<T>& y,
                                        T* scratch) {
  for_items(plan, y.replicas, false, scratch, [&](const Place& place, T* own) {
    generalized_delta_forward(plan, make_item(plan, in, place), place.of(y, plan.values), own);
  });
}

template <class T>
void generalized_delta_rule_backward_cpu(const GeneralizedDeltaRulePlan& plan,
                                         const GeneralizedDeltaRuleViews<T>& in,
                                         const Batched<T>& dy,
                                         const GeneralizedDeltaRuleGradients<T>& out, T* scratch) {
  for_items(plan, dy.replicas, true, scratch, [&](const Place& place, T* own) {
    const GeneralizedDeltaItemGradients<T> gradients{
        place.of(out.dq, plan.keys),       place.of(out.dk, plan.keys),
        place.of(out.dv, plan.values),     place.of(out.dlog_decay, plan.keys),
        place.of(out.dremoval, plan.keys), place.of(out.drate, plan.keys)};
    generalized_delta_backward(plan, make_item(plan, in, place), place.of(dy, plan.values),
                               gradients, own);
  });
}

#define INSTANTIATE(T)                                                                         \
  template void generalized_delta_rule_forward_cpu(const GeneralizedDeltaRulePlan&,            \
                                                   const GeneralizedDeltaRuleViews<T>&,        \
                                                   const Batched<T>&, T*);                     \
  template void generalized_delta_rule_backward_cpu(                                           \
      const GeneralizedDeltaRulePlan&, const GeneralizedDeltaRuleViews<T>&, const Batched<T>&, \
      const GeneralizedDeltaRuleGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
