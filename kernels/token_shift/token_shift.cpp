#include "kernels/token_shift/token_shift.h"

#include "kernels/graph/execution.h"
#include "kernels/token_shift/token_shift_cpu.h"
#include "kernels/token_shift/token_shift_cuda.h"

namespace recallbench {
namespace {

class TokenShift : public TypedOperation<TokenShift> {
 public:
  TokenShift(const Tensor& x, const Tensor& weights, ShiftWeight meaning, Device device)
      : meaning_(meaning), length_(x.shape[2]) {
    reads(x, InBackward::read);
    reads(weights, InBackward::read);
    for (Index k = 0; k < weights.rows(); ++k)
      writes(x.shape, InBackward::unused);
    needs_scratch(0, token_shift_scratch(x.shape[1], weights.rows() * x.cols()));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(
            0, token_shift_cuda_scratch(x.shape.replicas(), x.rows(), weights.rows() * x.cols()));
  }
  std::string_view name() const override { return "token_shift"; }

  template <class T>
  void forward_as(Execution& e) {
    token_shift_cpu(meaning_, length_, e.input<T>(0), e.input<T>(1), shifted<T>(e, false));
  }
  template <class T>
  void backward_as(Execution& e) {
    token_shift_backward_cpu(meaning_, length_, e.input<T>(0), e.input<T>(1), shifted<T>(e, true),
                             e.input_gradient<T>(0), e.input_gradient<T>(1), e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    token_shift_cuda(e.cuda(), meaning_ == ShiftWeight::previous, length_, e.input<float>(0),
                     e.input<float>(1), shifted<float>(e, false));
  }
  void backward_cuda(Execution& e) {
    token_shift_backward_cuda(e.cuda(), meaning_ == ShiftWeight::previous, length_,
                              e.input<float>(0), e.input<float>(1), shifted<float>(e, true),
                              e.input_gradient<float>(0), e.input_gradient<float>(1),
                              e.scratch<float>());
  }

 private:
  /// The outputs, or their gradients.
  template <class T>
  Shifted<T> shifted(const Execution& e, bool gradients) const {
    Shifted<T> all{};
    for (std::size_t k = 0; k < outputs().size(); ++k) {
      const int output = static_cast<int>(k);
      all.of[k] = gradients ? e.output_gradient<T>(output) : e.output<T>(output);
    }
    return all;
  }

  ShiftWeight meaning_;
  Index length_;
};

}  // namespace

std::vector<Tensor> token_shift(Graph& graph, const Tensor& x, const Tensor& weights,
                                ShiftWeight meaning) {
  check(x.shape.rank() == 4 && weights.rows() >= 1 && weights.rows() <= kMostShifts &&
            weights.cols() == x.cols(),
        "token_shift",
        "expected x [R, B, L, D] and weights [R, n, D], n between 1 and {}, got {} and {}",
        kMostShifts, x.shape.text(), weights.shape.text());
  return graph.add(std::make_unique<TokenShift>(x, weights, meaning, graph.device()));
}

}  // namespace recallbench
