#include "kernels/linear_attention/linear_attention_cpu.h"

#include "kernels/linear_attention/item_cpu.h"
#include "kernels/tensor/arena.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

// Items are dealt to at most this many lanes, each with scratch of its own; fewer where the
// scratch of all would be more than kScratch numbers.
constexpr Index kLanes = 32;
constexpr Index kScratch = Index{1} << 24;

template <class T>
Matrix<T> head_rows(const Batched<T>& x, Index replica, Index example, Index rows, Index head,
                    Index cols) {
  return x.replica(replica).block(example * rows, rows).columns(head * cols, cols);
}

template <class T>
LinearAttentionItem<T> make_item(const LinearAttentionPlan& p, const LinearAttentionTensors<T>& t,
                                 Index replica, Index index) {
  const Index b = index / p.options.heads, h = index % p.options.heads;
  return {head_rows(t.q, replica, b, p.queries, h, p.features),
          head_rows(t.k, replica, b, p.length, h, p.features),
          head_rows(t.v, replica, b, p.length, h, p.values),
          head_rows(t.y, replica, b, p.queries, h, p.values),
          head_rows(t.denominators, replica, b, p.queries, h, 1),
          t.positions == nullptr ? nullptr : t.positions + (replica * p.examples + b) * p.queries};
}

/// dk and dv collect from many queries: they begin at zero where they do not add.
template <class T>
LinearAttentionItemGradients<T> make_gradients(const LinearAttentionPlan& p,
                                               const LinearAttentionGradients<T>& g, Index replica,
                                               Index index) {
  const Index b = index / p.options.heads, h = index % p.options.heads;
  const auto part = [&](const Gradient<T>& to, Index rows, Index cols) -> MatrixGradient<T> {
    if (!to.wanted) return {};
    return {head_rows(to.view, replica, b, rows, h, cols), to.accumulate};
  };
  const LinearAttentionItemGradients<T> made{
      head_rows(g.dy, replica, b, p.queries, h, p.values), part(g.dq, p.queries, p.features),
      part(g.dk, p.length, p.features), part(g.dv, p.length, p.values)};
  made.dk.begin_sum();
  made.dv.begin_sum();
  return made;
}

Index lane_scratch(const LinearAttentionPlan& plan, bool backward) {
  const Index numbers =
      chunked_pays(plan) ? chunked_scratch(plan, backward) : quadratic_scratch(plan, backward);
  return static_cast<Index>(align_up(static_cast<std::size_t>(numbers)));
}

Index lanes(const LinearAttentionPlan& plan, bool backward) {
  const Index fit = std::max<Index>(1, kScratch / lane_scratch(plan, backward));
  return std::min({kLanes, fit, plan.items()});
}

/// body(replica, item, lane's scratch) for every item of every replica.
template <class T, class Body>
void for_items(const LinearAttentionPlan& plan, const LinearAttentionTensors<T>& tensors,
               bool backward, const Body& body) {
  const Index stride = lane_scratch(plan, backward), count = lanes(plan, backward);
  for (Index r = 0; r < tensors.q.replicas; ++r)
    parallel_for(count, [&](Index lane) {
      for (Index index = lane; index < plan.items(); index += count)
        body(r, index, tensors.scratch + lane * stride);
    });
}

}  // namespace

Index linear_attention_scratch(const LinearAttentionPlan& plan, bool backward) {
  return lanes(plan, backward) * lane_scratch(plan, backward);
}

template <class T>
void linear_attention_forward_cpu(const LinearAttentionPlan& plan,
                                  const LinearAttentionTensors<T>& tensors) {
  const bool chunked = chunked_pays(plan);
  for_items(plan, tensors, false, [&](Index replica, Index index, T* scratch) {
    const auto item = make_item(plan, tensors, replica, index);
    chunked ? chunked_forward(plan, item, scratch) : quadratic_forward(plan, item, scratch);
  });
}

template <class T>
void linear_attention_backward_cpu(const LinearAttentionPlan& plan,
                                   const LinearAttentionTensors<T>& tensors,
                                   const LinearAttentionGradients<T>& gradients) {
  const bool chunked = chunked_pays(plan);
  for_items(plan, tensors, true, [&](Index replica, Index index, T* scratch) {
    const auto item = make_item(plan, tensors, replica, index);
    const auto wanted = make_gradients(plan, gradients, replica, index);
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
