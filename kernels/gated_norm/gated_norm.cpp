#include "kernels/gated_norm/gated_norm.h"

#include "kernels/gated_norm/gated_norm_cpu.h"
#include "kernels/gated_norm/gated_norm_cuda.h"
#include "kernels/graph/execution.h"

namespace recallbench {
namespace {

class GatedNorm : public TypedOperation<GatedNorm> {
 public:
  GatedNorm(const Tensor& x, const Tensor& gate, const Tensor& weight,
            const GatedNormOptions& options, Device device)
      : options_(options) {
    for (const Tensor& tensor : {x, gate, weight})
      reads(tensor, InBackward::read);
    writes(x.shape, InBackward::unused);
    saves(x.shape.with_cols(x.cols() / weight.cols()));
    needs_scratch(gated_norm_forward_scratch(x.rows(), weight.cols()),
                  gated_norm_backward_scratch(x.rows(), weight.cols()));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_partial_sums(gated_norm_cuda_scratch(
            x.shape.replicas(), x.rows() * (x.cols() / weight.cols()), weight.cols()));
  }
  std::string_view name() const override { return "gated_norm"; }

  template <class T>
  void forward_as(Execution& e) {
    gated_norm_forward_cpu(options_, views<T>(e), e.output<T>(0), e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution& e) {
    gated_norm_backward_cpu(
        options_, views<T>(e), e.output_gradient<T>(0),
        {e.input_gradient<T>(0), e.input_gradient<T>(1), e.input_gradient<T>(2)}, e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    gated_norm_forward_cuda(e.cuda(), on_device(e), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    gated_norm_backward_cuda(
        e.cuda(), on_device(e), e.output_gradient<float>(0),
        {e.input_gradient<float>(0), e.input_gradient<float>(1), e.input_gradient<float>(2)},
        e.scratch<float>());
  }

 private:
  GatedNormCuda on_device(Execution& e) const {
    return {options_.order == GateOrder::after_norm,
            options_.activation == GateActivation::silu,
            static_cast<float>(options_.eps),
            e.input<float>(0),
            e.input<float>(1),
            e.input<float>(2),
            e.output<float>(1)};
  }
  template <class T>
  static GatedNormViews<T> views(Execution& e) {
    return {e.input<T>(0), e.input<T>(1), e.input<T>(2), e.output<T>(1)};
  }

  GatedNormOptions options_;
};

}  // namespace

Tensor gated_norm(Graph& graph, const Tensor& x, const Tensor& gate, const Tensor& weight,
                  const GatedNormOptions& options) {
  check(gate.shape == x.shape, "gated_norm", "expected a gate {}, got {}", x.shape.text(),
        gate.shape.text());
  check(weight.rows() == 1 && x.cols() % weight.cols() == 0, "gated_norm",
        "expected weight [R, 1, D] with D a divisor of {} columns, got {}", x.cols(),
        weight.shape.text());
  return graph.add(std::make_unique<GatedNorm>(x, gate, weight, options, graph.device()))[0];
}

}  // namespace recallbench
