#include "kernels/delta_rule/delta_rule_cpu.h"

#include "kernels/delta_rule/item_cpu.h"
#include "kernels/tensor/head_items.h"

namespace recallbench {
namespace {

template <class T>
DeltaRuleItem<T> make_item(const DeltaRuleViews<T>& in, Index r, const HeadItem& at) {
  return {at.of(in.q, r),    at.of(in.k, r),         at.of(in.v, r),
          at.of(in.beta, r), at.of(in.log_decay, r), at.of(in.states, r)};
}

HeadItems items_of(const DeltaRulePlan& p, bool backward) {
  return {p.examples, p.options.heads, chunked_scratch(p, backward)};
}

}  // namespace

Index delta_rule_scratch(const DeltaRulePlan& plan, bool backward) {
  return items_of(plan, backward).scratch();
}

Index delta_rule_states(const DeltaRulePlan& plan) {
  return chunked_states(plan);
}

template <class T>
void delta_rule_forward_cpu(const DeltaRulePlan& plan, const DeltaRuleViews<T>& in,
                            const Batched<T>& y, T* scratch) {
  for (Index r = 0; r < y.replicas; ++r)
    items_of(plan, false).run(scratch, [&](const HeadItem& at, T* own) {
      const DeltaRuleItem<T> item = make_item(in, r, at);
      chunked_forward(plan, item, at.of(y, r), own);
    });
}

template <class T>
void delta_rule_backward_cpu(const DeltaRulePlan& plan, const DeltaRuleViews<T>& in,
                             const Batched<T>& dy, const DeltaRuleGradients<T>& gradients,
                             T* scratch) {
  for (Index r = 0; r < dy.replicas; ++r)
    items_of(plan, true).run(scratch, [&](const HeadItem& at, T* own) {
      const DeltaRuleItem<T> item = make_item(in, r, at);
      const DeltaRuleItemGradients<T> wanted{
          at.of(dy, r),          at.of(gradients.q, r),    at.of(gradients.k, r),
          at.of(gradients.v, r), at.of(gradients.beta, r), at.of(gradients.log_decay, r)};
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
