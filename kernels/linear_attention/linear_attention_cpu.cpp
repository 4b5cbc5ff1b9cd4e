#include "kernels/linear_attention/linear_attention_cpu.h"

#include "kernels/linear_attention/item_cpu.h"
#include "kernels/tensor/head_items.h"

namespace recallbench {
namespace {

template <class T>
LinearAttentionItem<T> make_item(const LinearAttentionPlan& p, const LinearAttentionTensors<T>& t,
                                 Index r, const HeadItem& at) {
  return {
      at.of(t.q, r),
      at.of(t.k, r),
      at.of(t.v, r),
      at.of(t.y, r),
      at.of(t.denominators, r),
      t.positions == nullptr ? nullptr : t.positions + (r * p.examples + at.example) * p.queries};
}

/// dk and dv collect from many queries: they begin at zero where they do not add.
template <class T>
LinearAttentionItemGradients<T> make_gradients(const LinearAttentionGradients<T>& g, Index r,
                                               const HeadItem& at) {
  const LinearAttentionItemGradients<T> made{at.of(g.dy, r), at.of(g.dq, r), at.of(g.dk, r),
                                             at.of(g.dv, r)};
  made.dk.begin_sum();
  made.dv.begin_sum();
  return made;
}

HeadItems items_of(const LinearAttentionPlan& p, bool backward) {
  return {p.examples, p.options.heads,
          chunked_pays(p) ? chunked_scratch(p, backward) : quadratic_scratch(p, backward)};
}

}  // namespace

Index linear_attention_scratch(const LinearAttentionPlan& plan, bool backward) {
  return items_of(plan, backward).scratch();
}

template <class T>
void linear_attention_forward_cpu(const LinearAttentionPlan& plan,
                                  const LinearAttentionTensors<T>& tensors) {
  const bool chunked = chunked_pays(plan);
  for (Index r = 0; r < tensors.q.replicas; ++r)
    items_of(plan, false).run(tensors.scratch, [&](const HeadItem& at, T* scratch) {
      const auto item = make_item(plan, tensors, r, at);
      chunked ? chunked_forward(plan, item, scratch) : quadratic_forward(plan, item, scratch);
    });
}

template <class T>
void linear_attention_backward_cpu(const LinearAttentionPlan& plan,
                                   const LinearAttentionTensors<T>& tensors,
                                   const LinearAttentionGradients<T>& gradients) {
  const bool chunked = chunked_pays(plan);
  for (Index r = 0; r < tensors.q.replicas; ++r)
    items_of(plan, true).run(tensors.scratch, [&](const HeadItem& at, T* scratch) {
      const auto item = make_item(plan, tensors, r, at);
      const auto wanted = make_gradients(gradients, r, at);
      chunked ? chunked_backward(plan, item, wanted, scratch)
              : quadratic_backward(plan, item, wanted, scratch);
    });
}

template void linear_attention_forward_cpu(const LinearAttentionPlan&,
                                           const LinearAttentionTensors<float>&);
template void linear_attention_forward_cpu(const LinearAttentionPlan&,
                                           const LinearAttentionTensors<double>&);
template void linear_attention_backward_cpu(const LinearAttentionPlan&,
                                            const LinearAttentionTensors<float>&,
                                            const LinearAttentionGradients<float>&);
template void linear_attention_backward_cpu(const LinearAttentionPlan&,
                                            const LinearAttentionTensors<double>&,
                                            const LinearAttentionGradients<double>&);

}  // namespace recallbench
