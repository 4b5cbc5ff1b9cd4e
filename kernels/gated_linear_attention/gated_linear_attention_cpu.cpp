#include "kernels/gated_linear_attention/gated_linear_attention_cpu.h"

#include "kernels/gated_linear_attention/item_cpu.h"
#include "kernels/tensor/head_items.h"

namespace recallbench {
namespace {

/// An item is an (example, state head).
HeadItems items_of(const GatedLinearAttentionPlan& p, bool backward) {
  return {p.examples, p.options.state_heads, gated_chunk_scratch(p, backward)};
}

template <class T>
GatedItem<T> make_item(const GatedLinearAttentionPlan& p, const GatedLinearAttentionViews<T>& in,
                       Index r, const HeadItem& at) {
  return {at.of(in.q, r), at.of(in.k, r), at.of(in.v, r), at.of(in.log_decay, r),
          p.constant() ? p.options.constant_decays[static_cast<std::size_t>(at.head)] : 0.0};
}

}  // namespace

Index gated_linear_attention_scratch(const GatedLinearAttentionPlan& plan, bool backward) {
  return items_of(plan, backward).scratch();
}

template <class T>
void gated_linear_attention_forward_cpu(const GatedLinearAttentionPlan& plan,
                                        const GatedLinearAttentionViews<T>& in, const Batched<T>& y,
                                        T* scratch) {
  for (Index r = 0; r < y.replicas; ++r)
    items_of(plan, false).run(scratch, [&](const HeadItem& at, T* own) {
      gated_forward(plan, make_item(plan, in, r, at), at.of(y, r), own);
    });
}

template <class T>
void gated_linear_attention_backward_cpu(const GatedLinearAttentionPlan& plan,
                                         const GatedLinearAttentionViews<T>& in,
                                         const Batched<T>& dy,
                                         const GatedLinearAttentionGradients<T>& out, T* scratch) {
  for (Index r = 0; r < dy.replicas; ++r)
    items_of(plan, true).run(scratch, [&](const HeadItem& at, T* own) {
      const GatedItemGradients<T> gradients{at.of(out.dq, r), at.of(out.dk, r), at.of(out.dv, r),
                                            at.of(out.dlog_decay, r)};
      gated_backward(plan, make_item(plan, in, r, at), at.of(dy, r), gradients, own);
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
