#include "kernels/generalized_delta_rule/generalized_delta_rule.h"

#include <algorithm>

#include "kernels/generalized_delta_rule/generalized_delta_rule_cpu.h"
#include "kernels/generalized_delta_rule/generalized_delta_rule_cuda.h"
#include "kernels/graph/execution.h"

namespace recallbench {
namespace {

class GeneralizedDeltaRule : public TypedOperation<GeneralizedDeltaRule> {
 public:
  GeneralizedDeltaRule(const GeneralizedDeltaRuleInputs& in, Index heads, bool training,
                       Device device)
      : plan_{in.q.shape[1], in.q.shape[2], heads, in.q.cols() / heads, in.v.cols() / heads} {
    for (const Tensor& tensor : {in.q, in.k, in.v, in.log_decay, in.removal, in.rate})
      reads(tensor, InBackward::read);
    writes(in.v.shape, InBackward::unused);
    needs_scratch(generalized_delta_rule_scratch(plan_, false),
                  generalized_delta_rule_scratch(plan_, true));
    if constexpr (kCudaBuild)
      if (device == Device::cuda) record_cuda(in.v.shape, training);
  }
  std::string_view name() const override { return "generalized_delta_rule"; }

  template <class T>
  void forward_as(Execution& e) {
    generalized_delta_rule_forward_cpu(plan_, views<T>(e), e.output<T>(0), e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution& e) {
    generalized_delta_rule_backward_cpu(plan_, views<T>(e), e.output_gradient<T>(0),
                                        gradients<T>(e), e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    generalized_delta_rule_forward_cuda(e.cuda(), plan_, views<float>(e), e.output<float>(0),
                                        kept(e));
  }
  void backward_cuda(Execution& e) {
    generalized_delta_rule_backward_cuda(e.cuda(), plan_, views<float>(e), kept(e),
                                         e.output_gradient<float>(0), gradients<float>(e),
                                         e.scratch<float>());
  }

 private:
  void record_cuda(const Shape& values, bool training) {
    check(std::max(plan_.keys, plan_.values) <= kGeneralizedDeltaMost, "generalized_delta_rule",
          "expected heads of at most {} keys and values on a GPU, got {} and {}",
          kGeneralizedDeltaMost, plan_.keys, plan_.values);
    needs_scratch(0, generalized_delta_rule_cuda_scratch(plan_, values.replicas()));
    if (!training) return;
    saves(values);
    if (plan_.chunks() > 1)
      saves(Shape{values.replicas(), plan_.examples, plan_.chunks() - 1,
                  plan_.heads * plan_.keys * plan_.values});
  }
  GeneralizedDeltaRuleKept kept(Execution& e) const {
    const auto output = [&](std::size_t k) {
      return k < outputs().size() ? e.output<float>(static_cast<int>(k)) : Batched<float>{};
    };
    return {output(1), output(2)};
  }
  template <class T>
  GeneralizedDeltaRuleGradients<T> gradients(Execution& e) const {
    return {e.input_gradient<T>(0), e.input_gradient<T>(1), e.input_gradient<T>(2),
            e.input_gradient<T>(3), e.input_gradient<T>(4), e.input_gradient<T>(5)};
  }
  template <class T>
  GeneralizedDeltaRuleViews<T> views(Execution& e) const {
    return {e.input<T>(0), e.input<T>(1), e.input<T>(2),
            e.input<T>(3), e.input<T>(4), e.input<T>(5)};
  }

  GeneralizedDeltaRulePlan plan_;
};

}  // namespace

Tensor generalized_delta_rule(Graph& graph, const GeneralizedDeltaRuleInputs& in, Index heads) {
  check(in.q.shape.rank() == 4 && heads >= 1 && in.q.cols() % heads == 0 &&
            in.v.cols() % heads == 0 && in.v.shape == in.q.shape.with_cols(in.v.cols()),
        "generalized_delta_rule", "expected q [R, B, L, {} K] and v [R, B, L, {} V], got {} and {}",
        heads, heads, in.q.shape.text(), in.v.shape.text());
  for (const Tensor& tensor : {in.k, in.log_decay, in.removal, in.rate})
    check(tensor.shape == in.q.shape, "generalized_delta_rule",
          "expected k, log_decay, removal and rate {}, got {}", in.q.shape.text(),
          tensor.shape.text());
  return graph.add(
      std::make_unique<GeneralizedDeltaRule>(in, heads, graph.training(), graph.device()))[0];
}

}  // namespace recallbench
