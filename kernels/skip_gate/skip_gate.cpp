#include "kernels/skip_gate/skip_gate.h"

#include "kernels/graph/execution.h"
#include "kernels/skip_gate/skip_gate_cpu.h"
#include "kernels/skip_gate/skip_gate_cuda.h"

namespace recallbench {
namespace {

class SkipGate : public TypedOperation<SkipGate> {
 public:
  SkipGate(const Tensor& y, const Tensor& x, const Tensor& skip, const Tensor& gate,
           Device device) {
    for (const Tensor& tensor : {y, x, skip, gate})
      reads(tensor, InBackward::read);
    writes(y.shape, InBackward::unused);
    may_reuse_input(0);
    needs_scratch(0, skip_gate_scratch(y.rows(), y.cols()));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, skip_gate_cuda_scratch(y.shape.replicas(), y.rows(), y.cols()));
  }
  std::string_view name() const override { return "skip_gate"; }

  template <class T>
  void forward_as(Execution& e) {
    skip_gate_forward_cpu<T>(views<SkipGateViews<T>, T>(e), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    skip_gate_backward_cpu<T>(views<SkipGateViews<T>, T>(e), e.output_gradient<T>(0),
                              gradients<SkipGateGradients<T>, T>(e), e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    skip_gate_forward_cuda(e.cuda(), views<SkipGateCuda, float>(e), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    skip_gate_backward_cuda(e.cuda(), views<SkipGateCuda, float>(e), e.output_gradient<float>(0),
                            gradients<SkipGateCudaGradients, float>(e), e.scratch<float>());
  }

 private:
  template <class Views, class T>
  static Views views(Execution& e) {
    return {e.input<T>(0), e.input<T>(1), e.input<T>(2), e.input<T>(3)};
  }
  template <class Gradients, class T>
  static Gradients gradients(Execution& e) {
    return {e.input_gradient<T>(0), e.input_gradient<T>(1), e.input_gradient<T>(2),
            e.input_gradient<T>(3)};
  }
};

}  // namespace

Tensor skip_gate(Graph& graph, const Tensor& y, const Tensor& x, const Tensor& skip,
                 const Tensor& gate) {
  check(x.shape == y.shape && gate.shape == y.shape, "skip_gate",
        "expected x and gate {}, as y is, got {} and {}", y.shape.text(), x.shape.text(),
        gate.shape.text());
  check(skip.rows() == 1 && skip.cols() == y.cols(), "skip_gate",
        "expected skip [R, 1, {}], got {}", y.cols(), skip.shape.text());
  return graph.add(std::make_unique<SkipGate>(y, x, skip, gate, graph.device()))[0];
}

}  // namespace recallbench
