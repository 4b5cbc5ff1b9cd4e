#include "kernels/gated_linear_attention/gated_linear_attention.h"

#include <algorithm>

#include "kernels/gated_linear_attention/gated_linear_attention_cpu.h"
#include "kernels/gated_linear_attention/gated_linear_attention_cuda.h"
#include "kernels/graph/execution.h"

namespace recallbench {
namespace {

class GatedLinearAttention : public TypedOperation<GatedLinearAttention> {
 public:
  GatedLinearAttention(const GatedLinearAttentionInputs& in,
                       const GatedLinearAttentionOptions& options, Device device)
      : plan_{options, in.q.shape[1], in.q.shape[2], in.q.cols() / options.heads,
              in.v.cols() / options.state_heads} {
    for (const Tensor& tensor : {in.q, in.k, in.v})
      reads(tensor, InBackward::read);
    if (in.log_decay) reads(*in.log_decay, InBackward::read);
    writes(in.q.shape.with_cols(options.heads * plan_.values), InBackward::unused);
    needs_scratch(gated_linear_attention_scratch(plan_, false),
                  gated_linear_attention_scratch(plan_, true));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, gated_linear_attention_cuda_scratch(on_device({}), in.q.shape.replicas()));
  }
  std::string_view name() const override { return "gated_linear_attention"; }

  template <class T>
  void forward_as(Execution& e) {
    gated_linear_attention_forward_cpu(plan_, views<T>(e), e.output<T>(0), e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution& e) {
    const GatedLinearAttentionGradients<T> gradients{
        e.input_gradient<T>(0), e.input_gradient<T>(1), e.input_gradient<T>(2),
        plan_.constant() ? Gradient<T>{} : e.input_gradient<T>(3)};
    gated_linear_attention_backward_cpu(plan_, views<T>(e), e.output_gradient<T>(0), gradients,
                                        e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    gated_linear_attention_forward_cuda(e.cuda(), on_device(views<float>(e)), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    gated_linear_attention_backward_cuda(
        e.cuda(), on_device(views<float>(e)), e.output_gradient<float>(0),
        {e.input_gradient<float>(0), e.input_gradient<float>(1), e.input_gradient<float>(2),
         plan_.constant() ? Gradient<float>{} : e.input_gradient<float>(3)},
        e.scratch<float>());
  }

 private:
  GatedLinearAttentionCuda on_device(const GatedLinearAttentionViews<float>& in) const {
    const GatedLinearAttentionOptions& o = plan_.options;
    GatedLinearAttentionCuda on{plan_.examples,
                                plan_.length,
                                o.heads,
                                o.state_heads,
                                plan_.keys,
                                plan_.values,
                                static_cast<float>(o.scale),
                                in.q,
                                in.k,
                                in.v,
                                in.log_decay,
                                {}};
    check(o.constant_decays.size() <= std::size(on.constant_decays), "gated_linear_attention",
          "expected at most {} constant decays on a GPU, got {}", kGatedMostConstants,
          o.constant_decays.size());
    std::transform(o.constant_decays.begin(), o.constant_decays.end(), on.constant_decays,
                   [](double decay) { return static_cast<float>(decay); });
    return on;
  }

  template <class T>
  GatedLinearAttentionViews<T> views(Execution& e) const {
    return {e.input<T>(0), e.input<T>(1), e.input<T>(2),
            plan_.constant() ? Batched<T>{} : e.input<T>(3)};
  }

  GatedLinearAttentionPlan plan_;
};

void check_decays(const GatedLinearAttentionInputs& in, const GatedLinearAttentionOptions& o) {
  if (in.log_decay) {
    check(in.log_decay->shape == in.k.shape && o.constant_decays.empty(), "gated_linear_attention",
          "expected log_decay {} and no constant decays, got {} and {} decays", in.k.shape.text(),
          in.log_decay->shape.text(), o.constant_decays.size());
    return;
  }
  check(static_cast<Index>(o.constant_decays.size()) == o.state_heads, "gated_linear_attention",
        "expected log_decay, or a constant decay for each of {} state heads, got {} decays",
        o.state_heads, o.constant_decays.size());
  for (const double decay : o.constant_decays)
    check(decay > 0 && decay <= 1, "gated_linear_attention", "expected decays in (0, 1], got {}",
          decay);
}

}  // namespace

Tensor gated_linear_attention(Graph& graph, const GatedLinearAttentionInputs& in,
                              const GatedLinearAttentionOptions& options) {
  const Index heads = options.heads, states = options.state_heads;
  check(in.q.shape.rank() == 4 && in.k.shape.rank() == 4 && in.v.shape.rank() == 4,
        "gated_linear_attention", "expected q, k, v of four dimensions, got {}, {}, {}",
        in.q.shape.text(), in.k.shape.text(), in.v.shape.text());
  check(states >= 1 && heads >= states && heads % states == 0, "gated_linear_attention",
        "expected state heads that divide the heads, got {} of {}", states, heads);
  const Index keys = in.q.cols() / heads;
  check(in.q.cols() == keys * heads && in.k.shape == in.q.shape.with_cols(keys * states) &&
            in.v.cols() % states == 0 && in.v.shape == in.q.shape.with_cols(in.v.cols()),
        "gated_linear_attention",
        "expected q [R, B, L, {} K], k [R, B, L, {} K], v [R, B, L, {} V], got {}, {}, {}", heads,
        states, states, in.q.shape.text(), in.k.shape.text(), in.v.shape.text());
  check_decays(in, options);
  return graph.add(std::make_unique<GatedLinearAttention>(in, options, graph.device()))[0];
}

}  // namespace recallbench
