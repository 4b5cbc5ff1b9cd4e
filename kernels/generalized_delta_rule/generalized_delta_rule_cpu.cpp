#include "kernels/generalized_delta_rule/generalized_delta_rule_cpu.h"

#include "kernels/generalized_delta_rule/item_cpu.h"
#include "kernels/tensor/head_items.h"

namespace recallbench {
namespace {

HeadItems items_of(const GeneralizedDeltaRulePlan& p, bool backward) {
  return {p.examples, p.heads, generalized_delta_chunk_scratch(p, backward)};
}

template <class T>
GeneralizedDeltaItem<T> make_item(const GeneralizedDeltaRuleViews<T>& in, Index r,
                                  const HeadItem& at) {
  return {at.of(in.q, r),         at.of(in.k, r),       at.of(in.v, r),
          at.of(in.log_decay, r), at.of(in.removal, r), at.of(in.rate, r)};
}

}  // namespace

Index generalized_delta_rule_scratch(const GeneralizedDeltaRulePlan& plan, bool backward) {
  return items_of(plan, backward).scratch();
}

template <class T>
void generalized_delta_rule_forward_cpu(const GeneralizedDeltaRulePlan& plan,
                                        const GeneralizedDeltaRuleViews<T>& in, const Batched<T>& y,
                                        T* scratch) {
  for (Index r = 0; r < y.replicas; ++r)
    items_of(plan, false).run(scratch, [&](const HeadItem& at, T* own) {
      generalized_delta_forward(plan, make_item(in, r, at), at.of(y, r), own);
    });
}

template <class T>
void generalized_delta_rule_backward_cpu(const GeneralizedDeltaRulePlan& plan,
                                         const GeneralizedDeltaRuleViews<T>& in,
                                         const Batched<T>& dy,
                                         const GeneralizedDeltaRuleGradients<T>& out, T* scratch) {
  for (Index r = 0; r < dy.replicas; ++r)
    items_of(plan, true).run(scratch, [&](const HeadItem& at, T* own) {
      const GeneralizedDeltaItemGradients<T> gradients{
          at.of(out.dq, r),         at.of(out.dk, r),       at.of(out.dv, r),
          at.of(out.dlog_decay, r), at.of(out.dremoval, r), at.of(out.drate, r)};
      generalized_delta_backward(plan, make_item(in, r, at), at.of(dy, r), gradients, own);
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
