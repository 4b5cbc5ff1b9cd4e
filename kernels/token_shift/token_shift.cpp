#include "kernels/token_shift/token_shift.h"

#include "kernels/graph/execution.h"
#include "kernels/token_shift/token_shift_cpu.h"
#include "kernels/token_shift/token_shift_cuda.h"

namespace recallbench {
namespace {

class TokenShift : public TypedOperation<TokenShift> {
 public:
  TokenShift(const Tensor& x, const Tensor& weight, ShiftWeight meaning, Device device)
      : meaning_(meaning), length_(x.shape[2]) {
    reads(x, InBackward::read);
    reads(weight, InBackward::read);
    writes(x.shape, InBackward::unused);
    needs_scratch(0, token_shift_scratch(x.shape[1], x.cols()));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, token_shift_cuda_scratch(x.shape.replicas(), x.rows(), x.cols()));
  }
  std::string_view name() const override { return "token_shift"; }

  template <class T>
  void forward_as(Execution& e) {
    token_shift_cpu(meaning_, length_, e.input<T>(0), e.input<T>(1), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    token_shift_backward_cpu(meaning_, length_, e.input<T>(0), e.input<T>(1),
                             e.output_gradient<T>(0), e.input_gradient<T>(0),
                             e.input_gradient<T>(1), e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    token_shift_cuda(e.cuda(), meaning_ == ShiftWeight::previous, length_, e.input<float>(0),
                     e.input<float>(1), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    token_shift_backward_cuda(e.cuda(), meaning_ == ShiftWeight::previous, length_,
                              e.input<float>(0), e.input<float>(1), e.output_gradient<float>(0),
                              e.input_gradient<float>(0), e.input_gradient<float>(1),
                              e.scratch<float>());
  }

 private:
  ShiftWeight meaning_;
  Index length_;
};

}  // namespace

Tensor token_shift(Graph& graph, const Tensor& x, const Tensor& weight, ShiftWeight meaning) {
  check(x.shape.rank() == 4 && weight.rows() == 1 && weight.cols() == x.cols(), "token_shift",
        "expected x [R, B, L, D] and a weight [R, 1, D], got {} and {}", x.shape.text(),
        weight.shape.text());
  return graph.add(std::make_unique<TokenShift>(x, weight, meaning, graph.device()))[0];
}

}  // namespace recallbench
