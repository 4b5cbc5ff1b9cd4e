#include "kernels/norm/norm.h"

#include "kernels/graph/execution.h"
#include "kernels/norm/norm_cpu.h"
#include "kernels/norm/norm_cuda.h"

namespace recallbench {
namespace {

class Norm : public TypedOperation<Norm> {
 public:
  Norm(const Tensor& x, const Tensor& weight, const Tensor* bias, double eps, Device device)
      : centred_(bias != nullptr), eps_(eps) {
    reads(x, InBackward::read);
    reads(weight, InBackward::read);
    if (bias != nullptr) reads(*bias, InBackward::unused);
    writes(x.shape, InBackward::unused);
    saves(x.shape.with_cols(2));
    needs_scratch(0, norm_scratch(x.rows(), x.cols()));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_partial_sums(norm_cuda_scratch(x.shape.replicas(), x.rows(), x.cols()));
  }
  std::string_view name() const override { return centred_ ? "layer_norm" : "rms_norm"; }

  template <class T>
  void forward_as(Execution& e) {
    norm_forward_cpu(e.input<T>(0), e.input<T>(1), centred_ ? e.input<T>(2) : Batched<T>{}, eps_,
                     e.output<T>(0), e.output<T>(1));
  }
  template <class T>
  void backward_as(Execution& e) {
    norm_backward_cpu(e.input<T>(0), e.input<T>(1), e.output<T>(1), e.output_gradient<T>(0),
                      centred_, e.input_gradient<T>(0), e.input_gradient<T>(1),
                      centred_ ? e.input_gradient<T>(2) : Gradient<T>{}, e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    norm_forward_cuda(e.cuda(), e.input<float>(0), e.input<float>(1),
                      centred_ ? e.input<float>(2) : Batched<float>{}, eps_, e.output<float>(0),
                      e.output<float>(1));
  }
  void backward_cuda(Execution& e) {
    norm_backward_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), e.output<float>(1),
                       e.output_gradient<float>(0), centred_, e.input_gradient<float>(0),
                       e.input_gradient<float>(1),
                       centred_ ? e.input_gradient<float>(2) : Gradient<float>{},
                       e.scratch<float>());
  }

 private:
  bool centred_;
  double eps_;
};

}  // namespace

void check_norm_weights(const char* who, const Tensor& x, const Tensor& weight,
                        const std::optional<Tensor>& bias) {
  for (const Tensor* affine : {&weight, bias ? &*bias : &weight})
    check(affine->rows() == 1 && affine->cols() == x.cols(), who,
          "expected weight and bias [R, 1, {}] for x {}, got {}", x.cols(), x.shape.text(),
          affine->shape.text());
}

Tensor layer_norm(Graph& graph, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  double eps) {
  check_norm_weights("layer_norm", x, weight, bias);
  return graph.add(std::make_unique<Norm>(x, weight, &bias, eps, graph.device()))[0];
}

Tensor rms_norm(Graph& graph, const Tensor& x, const Tensor& weight, double eps) {
  check_norm_weights("rms_norm", x, weight, std::nullopt);
  return graph.add(std::make_unique<Norm>(x, weight, nullptr, eps, graph.device()))[0];
}

}  // namespace recallbench
