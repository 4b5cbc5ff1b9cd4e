#include "kernels/delta_rule/delta_rule.h"

#include "kernels/delta_rule/delta_rule_cpu.h"
#include "kernels/delta_rule/delta_rule_cuda.h"
#include "kernels/graph/execution.h"

namespace recallbench {
namespace {

class DeltaRule : public TypedOperation<DeltaRule> {
 public:
  DeltaRule(const DeltaRuleInputs& in, const DeltaRuleOptions& options, bool training,
            Device device)
      : plan_{options, in.v.shape[1], in.v.shape[2], in.q.cols() / options.heads,
              in.v.cols() / options.heads} {
    for (const Tensor& tensor : {in.q, in.k, in.v})
      reads(tensor, InBackward::read);
    if (in.beta) beta_ = also_reads(*in.beta);
    if (in.log_decay) log_decay_ = also_reads(*in.log_decay);
    writes(in.v.shape, InBackward::unused);
    keeps_states_ = training && delta_rule_states(plan_) > 0;
    if (keeps_states_)
      saves(Shape{in.v.shape.replicas(), plan_.examples, delta_rule_states(plan_),
                  options.heads * plan_.keys * plan_.values});
    needs_scratch(delta_rule_scratch(plan_, false), delta_rule_scratch(plan_, true));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, delta_rule_cuda_scratch(on_device({}), in.v.shape.replicas()));
  }
  std::string_view name() const override { return "delta_rule"; }

  template <class T>
  void forward_as(Execution& e) {
    delta_rule_forward_cpu(plan_, views<T>(e), e.output<T>(0), e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution& e) {
    const auto gradient = [&](int k) { return k < 0 ? Gradient<T>{} : e.input_gradient<T>(k); };
    delta_rule_backward_cpu(
        plan_, views<T>(e), e.output_gradient<T>(0),
        {gradient(0), gradient(1), gradient(2), gradient(beta_), gradient(log_decay_)},
        e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    delta_rule_forward_cuda(e.cuda(), on_device(views<float>(e)), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    const auto gradient = [&](int k) {
      return k < 0 ? Gradient<float>{} : e.input_gradient<float>(k);
    };
    delta_rule_backward_cuda(
        e.cuda(), on_device(views<float>(e)), e.output_gradient<float>(0),
        {gradient(0), gradient(1), gradient(2), gradient(beta_), gradient(log_decay_)},
        e.scratch<float>());
  }

 private:
  int also_reads(const Tensor& tensor) {
    reads(tensor, InBackward::read);
    return static_cast<int>(inputs().size()) - 1;
  }
  template <class T>
  DeltaRuleViews<T> views(Execution& e) const {
    const auto input = [&](int k) { return k < 0 ? Batched<T>{} : e.input<T>(k); };
    return {input(0),     input(1),          input(2),
            input(beta_), input(log_decay_), keeps_states_ ? e.output<T>(1) : Batched<T>{}};
  }
  DeltaRuleCuda on_device(const DeltaRuleViews<float>& in) const {
    return {plan_.examples,
            plan_.length,
            plan_.options.heads,
            plan_.keys,
            plan_.values,
            static_cast<float>(plan_.options.scale),
            static_cast<float>(plan_.options.beta_scale),
            in.q,
            in.k,
            in.v,
            in.beta,
            in.log_decay,
            in.states};
  }

  DeltaRulePlan plan_;
  int beta_ = -1, log_decay_ = -1;
  bool keeps_states_ = false;
};

}  // namespace

Tensor delta_rule(Graph& graph, const DeltaRuleInputs& in, const DeltaRuleOptions& options) {
  const Index heads = options.heads;
  check(in.v.shape.rank() == 4 && in.q.shape == in.k.shape &&
            in.q.shape.with_cols(1) == in.v.shape.with_cols(1),
        "delta_rule", "expected q and k [R, B, L, H dk] of v's tokens, got q {}, k {}, v {}",
        in.q.shape.text(), in.k.shape.text(), in.v.shape.text());
  check(heads >= 1 && in.q.cols() % heads == 0 && in.v.cols() % heads == 0, "delta_rule",
        "expected columns that {} heads divide, got q {}, v {}", heads, in.q.shape.text(),
        in.v.shape.text());
  for (const std::optional<Tensor>& scalar : {in.beta, in.log_decay})
    check(!scalar || scalar->shape == in.v.shape.with_cols(heads), "delta_rule",
          "expected beta and log_decay {}, got {}", in.v.shape.with_cols(heads).text(),
          scalar ? scalar->shape.text() : "");
  return graph.add(std::make_unique<DeltaRule>(in, options, graph.training(), graph.device()))[0];
}

}  // namespace recallbench
