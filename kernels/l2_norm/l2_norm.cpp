#include "kernels/l2_norm/l2_norm.h"

#include "kernels/graph/execution.h"
#include "kernels/l2_norm/l2_norm_cpu.h"
#include "kernels/l2_norm/l2_norm_cuda.h"

namespace recallbench {
namespace {

class LengthNorm : public TypedOperation<LengthNorm> {
 public:
  LengthNorm(const Tensor& x, const LengthNormPlan& plan) : plan_(plan) {
    reads(x, InBackward::unused);
    writes(x.shape, InBackward::read);
    saves(x.shape.with_cols(plan.heads));
  }
  std::string_view name() const override { return plan_.by_sum ? "sum_norm" : "l2_norm"; }

  template <class T>
  void forward_as(Execution& e) {
    length_norm_forward_cpu(plan_, e.input<T>(0), e.output<T>(0), e.output<T>(1));
  }
  template <class T>
  void backward_as(Execution& e) {
    length_norm_backward_cpu(plan_, e.output<T>(0), e.output<T>(1), e.output_gradient<T>(0),
                             e.input_gradient<T>(0));
  }

  void forward_cuda(Execution& e) {
    length_norm_forward_cuda(e.cuda(), plan_, e.input<float>(0), e.output<float>(0),
                             e.output<float>(1));
  }
  void backward_cuda(Execution& e) {
    length_norm_backward_cuda(e.cuda(), plan_, e.output<float>(0), e.output<float>(1),
                              e.output_gradient<float>(0), e.input_gradient<float>(0));
  }

 private:
  LengthNormPlan plan_;
};

Tensor record(Graph& graph, const char* who, const Tensor& x, const LengthNormPlan& plan) {
  check(plan.heads >= 1 && x.cols() % plan.heads == 0, who,
        "expected columns that {} heads divide, got {}", plan.heads, x.shape.text());
  return graph.add(std::make_unique<LengthNorm>(x, plan))[0];
}

}  // namespace

Tensor l2_norm(Graph& graph, const Tensor& x, Index heads, double eps) {
  return record(graph, "l2_norm", x, {heads, false, eps});
}

Tensor sum_norm(Graph& graph, const Tensor& x, Index heads) {
  return record(graph, "sum_norm", x, {heads, true, 0});
}

}  // namespace recallbench
