#include "kernels/long_conv/long_conv.h"

#include <algorithm>

#include "kernels/graph/execution.h"
#include "kernels/long_conv/long_conv_cpu.h"
#include "kernels/long_conv/long_conv_cuda.h"

namespace recallbench {
namespace {

class LongConv : public TypedOperation<LongConv> {
 public:
  LongConv(const Tensor& u, const Tensor& filter, LongConvWrap wrap, Device device)
      : length_(u.shape[2]),
        taps_(std::min(filter.rows(), wrap == LongConvWrap::none ? length_ : 2 * length_)) {
    reads(u, InBackward::read);
    reads(filter, InBackward::read);
    writes(u.shape, InBackward::unused);
    needs_scratch(long_conv_scratch(u.shape[1], length_, u.cols(), false),
                  long_conv_scratch(u.shape[1], length_, u.cols(), true));
    if constexpr (kCudaBuild)
      if (device == Device::cuda) {
        const LongConvSize size{u.shape.replicas(), u.shape[1], length_, u.cols(), taps_};
        needs_scratch(long_conv_cuda_scratch(size, false), long_conv_cuda_scratch(size, true));
      }
  }
  std::string_view name() const override { return "long_conv"; }

  template <class T>
  void forward_as(Execution& e) {
    long_conv_forward_cpu(e.input<T>(0), e.input<T>(1), length_, taps_, e.output<T>(0),
                          e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution& e) {
    long_conv_backward_cpu(e.input<T>(0), e.input<T>(1), e.output_gradient<T>(0), length_, taps_,
                           e.input_gradient<T>(0), e.input_gradient<T>(1), e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    long_conv_forward_cuda(e.cuda(), size(e), e.input<float>(0), e.input<float>(1),
                           e.output<float>(0), e.scratch<float>());
  }
  void backward_cuda(Execution& e) {
    long_conv_backward_cuda(e.cuda(), size(e), e.input<float>(0), e.input<float>(1),
                            e.output_gradient<float>(0), e.input_gradient<float>(0),
                            e.input_gradient<float>(1), e.scratch<float>());
  }

 private:
  LongConvSize size(Execution& e) const {
    const Batched<float> u = e.input<float>(0);
    return {u.replicas, u.rows / length_, length_, u.cols, taps_};
  }

  Index length_, taps_;
};

}  // namespace

Tensor long_conv(Graph& graph, const Tensor& u, const Tensor& filter, LongConvWrap wrap) {
  check(u.shape.rank() == 4 && filter.shape.rank() == 3 && filter.cols() == u.cols(), "long_conv",
        "expected u [R, B, L, D] and filter [R, taps, D], got {} and {}", u.shape.text(),
        filter.shape.text());
  return graph.add(std::make_unique<LongConv>(u, filter, wrap, graph.device()))[0];
}

}  // namespace recallbench
