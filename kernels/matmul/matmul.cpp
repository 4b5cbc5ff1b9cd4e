#include "kernels/matmul/matmul.h"

#include "kernels/graph/execution.h"
#include "kernels/matmul/linear_cpu.h"
#include "kernels/matmul/linear_cuda.h"

namespace recallbench {
namespace {

class Linear : public TypedOperation<Linear> {
 public:
  Linear(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, Device device)
      : has_bias_(bias.has_value()) {
    reads(x, InBackward::read);
    reads(weight, InBackward::read);
    if (bias) reads(*bias, InBackward::unused);
    writes(x.shape.with_cols(weight.rows()), InBackward::unused);
    needs_scratch(0, linear_scratch(x.rows(), weight.rows(), weight.cols()));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_partial_sums(
            linear_cuda_scratch(x.shape.replicas(), x.rows(), weight.rows(), weight.cols()));
  }
  std::string_view name() const override { return "linear"; }

  template <class T>
  void forward_as(Execution& e) {
    linear_forward_cpu(e.input<T>(0), e.input<T>(1), has_bias_ ? e.input<T>(2) : Batched<T>{},
                       e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    linear_backward_cpu(e.input<T>(0), e.input<T>(1), e.output_gradient<T>(0),
                        e.input_gradient<T>(0), e.input_gradient<T>(1),
                        has_bias_ ? e.input_gradient<T>(2) : Gradient<T>{}, e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    linear_forward_cuda(e.cuda(), e.input<float>(0), e.input<float>(1),
                        has_bias_ ? e.input<float>(2) : Batched<float>{}, e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    linear_backward_cuda(
        e.cuda(), e.input<float>(0), e.input<float>(1), e.output_gradient<float>(0),
        e.input_gradient<float>(0), e.input_gradient<float>(1),
        has_bias_ ? e.input_gradient<float>(2) : Gradient<float>{}, e.scratch<float>());
  }

 private:
  bool has_bias_;
};

}  // namespace

Tensor linear(Graph& graph, const Tensor& x, const Tensor& weight, std::optional<Tensor> bias) {
  check(weight.shape.rank() == 3 && weight.cols() == x.cols(), "linear",
        "expected weight [R, out, {}] for x {}, got {}", x.cols(), x.shape.text(),
        weight.shape.text());
  check(!bias || (bias->rows() == 1 && bias->cols() == weight.rows()), "linear",
        "expected bias [R, 1, {}] for weight {}, got {}", weight.rows(), weight.shape.text(),
        bias ? bias->shape.text() : "");
  return graph.add(std::make_unique<Linear>(x, weight, bias, graph.device()))[0];
}

}  // namespace recallbench
