#include "kernels/delta_rule/delta_rule_cpu.h"

#include <algorithm>

#include "kernels/delta_rule/item_cpu.h"
#include "kernels/tensor/arena.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Items are dealt to at most this many lanes, each with scratch of its own; fewer where the
// scratch of all would be more than kScratch numbers.
constexpr Index kLanes = 32;
constexpr Index kScratch = Index{1} << 24;

/// Rows of one example, `cols` columns of one head; nothing of what is not there.
template <class T>
Matrix<T> head_rows(const Batched<T>& x, Index replica, Index example, Index rows, Index head,
                    Index cols) {
  if (x.data == nullptr) return {nullptr, 0, 0, 0};
  return x.replica(replica).block(example * rows, rows).columns(head * cols, cols);
}

template <class T>
DeltaRuleItem<T> make_item(const DeltaRulePlan& p, const DeltaRuleViews<T>& in, Index r,
                           Index index) {
  const Index b = index / p.options.heads, h = index % p.options.heads;
  return {head_rows(in.q, r, b, p.length, h, p.keys),
          head_rows(in.k, r, b, p.length, h, p.keys),
          head_rows(in.v, r, b, p.length, h, p.values),
          head_rows(in.beta, r, b, p.length, h, 1),
          head_rows(in.log_decay, r, b, p.length, h, 1),
          head_rows(in.states, r, b, delta_rule_states(p), h, p.keys * p.values)};
}

template <class T>
DeltaRuleItemGradients<T> make_gradients(const DeltaRulePlan& p, const Batched<T>& dy,
                                         const DeltaRuleGradients<T>& g, Index r, Index index) {
  const Index b = index / p.options.heads, h = index % p.options.heads;
  const auto part = [&](const Gradient<T>& to, Index cols) {
    return MatrixGradient<T>{head_rows(to.wanted ? to.view : Batched<T>{}, r, b, p.length, h, cols),
                             to.accumulate};
  };
  return {head_rows(dy, r, b, p.length, h, p.values),
          part(g.q, p.keys),
          part(g.k, p.keys),
          part(g.v, p.values),
          part(g.beta, 1),
          part(g.log_decay, 1)};
}

Index lane_scratch(const DeltaRulePlan& plan, bool backward) {
  return static_cast<Index>(align_up(static_cast<std::size_t>(chunked_scratch(plan, backward))));
}

Index lanes(const DeltaRulePlan& plan, bool backward) {
  const Index fit = std::max<Index>(1, kScratch / lane_scratch(plan, backward));
  return std::min({kLanes, fit, plan.items()});
}

/// body(item, lane's scratch) for every item of a replica.
template <class Body, class T>
void for_items(const DeltaRulePlan& plan, bool backward, T* scratch, const Body& body) {
  const Index stride = lane_scratch(plan, backward), count = lanes(plan, backward);
  parallel_for(count, [&](Index lane) {
    for (Index index = lane; index < plan.items(); index += count)
      body(index, scratch + lane * stride);
  });
}

}  // namespace

Index delta_rule_scratch(const DeltaRulePlan& plan, bool backward) {
  return lanes(plan, backward) * lane_scratch(plan, backward);
}

Index delta_rule_states(const DeltaRulePlan& plan) {
  return chunked_states(plan);
}

template <class T>
void delta_rule_forward_cpu(const DeltaRulePlan& plan, const DeltaRuleViews<T>& in,
                            const Batched<T>& y, T* scratch) {
  for (Index r = 0; r < y.replicas; ++r)
    for_items(plan, false, scratch, [&](Index index, T* own) {
      const DeltaRuleItem<T> item = make_item(plan, in, r, index);
      const Index heads = plan.options.heads;
      const Matrix<T> to = head_rows(y, r, index / heads, plan.length, index % heads, plan.values);
      chunked_forward(plan, item, to, own);
    });
}

template <class T>
void delta_rule_backward_cpu(const DeltaRulePlan& plan, const DeltaRuleViews<T>& in,
                             const Batched<T>& dy, const DeltaRuleGradients<T>& gradients,
                             T* scratch) {
  for (Index r = 0; r < dy.replicas; ++r)
    for_items(plan, true, scratch, [&](Index index, T* own) {
      const DeltaRuleItem<T> item = make_item(plan, in, r, index);
      const DeltaRuleItemGradients<T> wanted = make_gradients(plan, dy, gradients, r, index);
      chunked_backward(plan, item, wanted, own);
    });
}

#define INSTANTIATE(T)                                                                  \
  template void delta_rule_forward_cpu(const DeltaRulePlan&, const DeltaRuleViews<T>&,  \
                                       const Batched<T>&, T*);                          \
  template void delta_rule_backward_cpu(const DeltaRulePlan&, const DeltaRuleViews<T>&, \
                                        const Batched<T>&, const DeltaRuleGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
