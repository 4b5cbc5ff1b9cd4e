#include "kernels/gated_conv/gated_conv.h"

#include "kernels/causal_conv/causal_conv_cuda.h"
#include "kernels/gated_conv/gated_conv_cpu.h"
#include "kernels/graph/execution.h"

namespace recallbench {
namespace {

class GatedConv : public TypedOperation<GatedConv> {
 public:
  GatedConv(const Tensor& u, const Tensor& gate, const Tensor& weight, const Tensor& bias,
            Device device)
      : length_(u.shape[2]) {
    for (const Tensor& tensor : {u, gate, weight, bias})
      reads(tensor, InBackward::read);
    writes(u.shape, InBackward::unused);
    const Index replicas = u.shape.replicas(), examples = u.shape[1], taps = weight.cols();
    needs_scratch(gated_conv_scratch(replicas, examples, length_, u.cols(), taps, false),
                  gated_conv_scratch(replicas, examples, length_, u.cols(), taps, true));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_partial_sums(
            causal_conv_cuda_scratch(replicas, examples, length_, u.cols(), taps, false));
  }
  std::string_view name() const override { return "gated_conv"; }

  template <class T>
  void forward_as(Execution& e) {
    gated_conv_forward_cpu(views<T>(e), e.output<T>(0), e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution& e) {
    gated_conv_backward_cpu(views<T>(e), e.output_gradient<T>(0),
                            {e.input_gradient<T>(0), e.input_gradient<T>(1), e.input_gradient<T>(2),
                             e.input_gradient<T>(3)},
                            e.scratch<T>());
  }

  // causal_conv's kernels, with a gate.
  void forward_cuda(Execution& e) {
    causal_conv_forward_cuda(e.cuda(), on_device(e), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    causal_conv_backward_cuda(e.cuda(), on_device(e), e.output_gradient<float>(0),
                              {.x = e.input_gradient<float>(0),
                               .gate = e.input_gradient<float>(1),
                               .weight = e.input_gradient<float>(2),
                               .bias = e.input_gradient<float>(3)},
                              e.scratch<float>());
  }

 private:
  template <class T>
  GatedConvViews<T> views(Execution& e) const {
    return {e.input<T>(0), e.input<T>(1), e.input<T>(2), e.input<T>(3), length_};
  }
  CausalConvCuda on_device(Execution& e) const {
    return {e.input<float>(0), e.input<float>(1), e.input<float>(2), e.input<float>(3), length_};
  }

  Index length_;
};

}  // namespace

Tensor gated_conv(Graph& graph, const Tensor& u, const Tensor& gate, const Tensor& weight,
                  const Tensor& bias) {
  check(u.shape.rank() == 4 && gate.shape == u.shape, "gated_conv",
        "expected u and gate [R, B, L, C], got {} and {}", u.shape.text(), gate.shape.text());
  check(weight.shape.rank() == 3 && weight.rows() == u.cols(), "gated_conv",
        "expected weight [R, {}, K] for u {}, got {}", u.cols(), u.shape.text(),
        weight.shape.text());
  check(bias.rows() == 1 && bias.cols() == u.cols(), "gated_conv",
        "expected bias [R, 1, {}], got {}", u.cols(), bias.shape.text());
  return graph.add(std::make_unique<GatedConv>(u, gate, weight, bias, graph.device()))[0];
}

}  // namespace recallbench
