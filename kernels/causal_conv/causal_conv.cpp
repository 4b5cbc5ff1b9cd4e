#include "kernels/causal_conv/causal_conv.h"

#include "kernels/causal_conv/causal_conv_cpu.h"
#include "kernels/causal_conv/causal_conv_cuda.h"
#include "kernels/graph/execution.h"

namespace recallbench {
namespace {

class CausalConv : public TypedOperation<CausalConv> {
 public:
  CausalConv(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
             ConvActivation activation, Device device)
      : length_(x.shape[2]), has_bias_(bias.has_value()), activation_(activation) {
    reads(x, InBackward::read);
    reads(weight, InBackward::read);
    if (bias)
      reads(*bias, activation == ConvActivation::none ? InBackward::unused : InBackward::read);
    writes(x.shape, InBackward::unused);
    needs_scratch(weight.rows() * weight.cols(),
                  causal_conv_scratch(x.shape[1], length_, x.cols(), weight.cols(), activation));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_partial_sums(causal_conv_cuda_scratch(x.shape.replicas(), x.shape[1], length_,
                                                    x.cols(), weight.cols(), silu()));
  }
  std::string_view name() const override { return "causal_conv"; }

  template <class T>
  void forward_as(Execution& e) {
    causal_conv_forward_cpu(views<T>(e), e.output<T>(0), e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution& e) {
    causal_conv_backward_cpu(views<T>(e), e.output_gradient<T>(0),
                             {e.input_gradient<T>(0), e.input_gradient<T>(1),
                              has_bias_ ? e.input_gradient<T>(2) : Gradient<T>{}},
                             e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    causal_conv_forward_cuda(e.cuda(), on_device(e), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    causal_conv_backward_cuda(e.cuda(), on_device(e), e.output_gradient<float>(0),
                              {.x = e.input_gradient<float>(0),
                               .gate = {},
                               .weight = e.input_gradient<float>(1),
                               .bias = has_bias_ ? e.input_gradient<float>(2) : Gradient<float>{}},
                              e.scratch<float>());
  }

 private:
  bool silu() const { return activation_ == ConvActivation::silu; }
  template <class T>
  Batched<T> bias(Execution& e) const {
    return has_bias_ ? e.input<T>(2) : Batched<T>{};
  }
  template <class T>
  CausalConvViews<T> views(Execution& e) const {
    return {e.input<T>(0), e.input<T>(1), bias<T>(e), length_, activation_};
  }
  CausalConvCuda on_device(Execution& e) const {
    return {e.input<float>(0), {}, e.input<float>(1), bias<float>(e), length_, silu()};
  }

  Index length_;
  bool has_bias_;
  ConvActivation activation_;
};

}  // namespace

Tensor causal_conv(Graph& graph, const Tensor& x, const Tensor& weight, std::optional<Tensor> bias,
                   ConvActivation activation) {
  check(x.shape.rank() == 4 && weight.shape.rank() == 3 && weight.rows() == x.cols(), "causal_conv",
        "expected x [R, B, L, C] and weight [R, C, K], got {} and {}", x.shape.text(),
        weight.shape.text());
  check(!bias || (bias->rows() == 1 && bias->cols() == x.cols()), "causal_conv",
        "expected bias [R, 1, {}], got {}", x.cols(), bias ? bias->shape.text() : "");
  return graph.add(std::make_unique<CausalConv>(x, weight, bias, activation, graph.device()))[0];
}

}  // namespace recallbench
