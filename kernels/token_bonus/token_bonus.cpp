#include "kernels/token_bonus/token_bonus.h"

#include "kernels/graph/execution.h"
#include "kernels/token_bonus/token_bonus_cpu.h"
#include "kernels/token_bonus/token_bonus_cuda.h"

namespace recallbench {
namespace {

class TokenBonus : public TypedOperation<TokenBonus> {
 public:
  TokenBonus(const TokenBonusInputs& in, Device device) {
    reads(in.o, InBackward::unused);
    for (const Tensor& tensor : {in.r, in.k, in.v, in.weight})
      reads(tensor, InBackward::read);
    writes(in.o.shape, InBackward::unused);
    needs_scratch(0, token_bonus_scratch(in.o.rows(), in.o.cols()));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, token_bonus_cuda_scratch(in.o.shape.replicas(), in.o.rows(), in.o.cols()));
  }
  std::string_view name() const override { return "token_bonus"; }

  template <class T>
  void forward_as(Execution& e) {
    token_bonus_forward_cpu(views<T>(e), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    token_bonus_backward_cpu(views<T>(e), e.output_gradient<T>(0), gradients<T>(e), e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    token_bonus_forward_cuda(e.cuda(), views<float>(e), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    token_bonus_backward_cuda(e.cuda(), views<float>(e), e.output_gradient<float>(0),
                              gradients<float>(e), e.scratch<float>());
  }

 private:
  template <class T>
  TokenBonusViews<T> views(Execution& e) const {
    return {e.input<T>(0), e.input<T>(1), e.input<T>(2), e.input<T>(3), e.input<T>(4)};
  }
  template <class T>
  TokenBonusGradients<T> gradients(Execution& e) const {
    return {e.input_gradient<T>(0), e.input_gradient<T>(1), e.input_gradient<T>(2),
            e.input_gradient<T>(3), e.input_gradient<T>(4)};
  }
};

}  // namespace

Tensor token_bonus(Graph& graph, const TokenBonusInputs& in) {
  check(in.r.shape == in.o.shape && in.k.shape == in.o.shape && in.v.shape == in.o.shape,
        "token_bonus", "expected o, r, k, v of one shape, got {}, {}, {}, {}", in.o.shape.text(),
        in.r.shape.text(), in.k.shape.text(), in.v.shape.text());
  check(in.weight.shape.rank() == 3 && in.weight.rows() * in.weight.cols() == in.o.cols() &&
            in.weight.stride == in.weight.cols(),
        "token_bonus", "expected a whole weight [R, H, D / H] for {} columns, got {}", in.o.cols(),
        in.weight.shape.text());
  return graph.add(std::make_unique<TokenBonus>(in, graph.device()))[0];
}

}  // namespace recallbench
