#include "kernels/wkv/wkv.h"

#include "kernels/graph/execution.h"
#include "kernels/wkv/wkv_cpu.h"
#include "kernels/wkv/wkv_cuda.h"

namespace recallbench {
namespace {

class Wkv : public TypedOperation<Wkv> {
 public:
  Wkv(const WkvInputs& in, bool training, Device device)
      : size_{in.k.shape[1], in.k.shape[2], in.k.cols()} {
    for (const Tensor& tensor : {in.k, in.v, in.time_decay, in.time_first})
      reads(tensor, InBackward::read);
    // A GPU computes y again, in backward, from the states that forward keeps.
    writes(in.k.shape, device == Device::cuda ? InBackward::unused : InBackward::read);
    needs_scratch(0, wkv_scratch(size_));
    if constexpr (kCudaBuild)
      if (device == Device::cuda) {
        const Index replicas = in.k.shape.replicas(), kept = wkv_kept_states(size_);
        needs_scratch(0, wkv_cuda_scratch(replicas, size_));
        keeps_states_ = training && kept > 0;
        if (keeps_states_) saves(Shape{replicas, size_.examples, kept, 3 * size_.channels});
      }
  }
  std::string_view name() const override { return "wkv"; }

  template <class T>
  void forward_as(Execution& e) {
    wkv_forward_cpu(size_, views<T>(e), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    wkv_backward_cpu(size_, views<T>(e), e.output<T>(0), e.output_gradient<T>(0), gradients<T>(e),
                     e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    wkv_forward_cuda(e.cuda(), size_, views<float>(e), e.output<float>(0), states(e));
  }
  void backward_cuda(Execution& e) {
    wkv_backward_cuda(e.cuda(), size_, views<float>(e), states(e), e.output_gradient<float>(0),
                      gradients<float>(e), e.scratch<float>());
  }

 private:
  template <class T>
  WkvViews<T> views(Execution& e) const {
    return {e.input<T>(0), e.input<T>(1), e.input<T>(2), e.input<T>(3)};
  }
  template <class T>
  WkvGradients<T> gradients(Execution& e) const {
    return {e.input_gradient<T>(0), e.input_gradient<T>(1), e.input_gradient<T>(2),
            e.input_gradient<T>(3)};
  }
  Batched<float> states(Execution& e) const {
    return keeps_states_ ? e.output<float>(1) : Batched<float>{};
  }

  WkvSize size_;
  bool keeps_states_ = false;
};

}  // namespace

Tensor wkv(Graph& graph, const WkvInputs& in) {
  check(in.k.shape.rank() == 4 && in.v.shape == in.k.shape, "wkv",
        "expected k and v [R, B, L, C], got {} and {}", in.k.shape.text(), in.v.shape.text());
  for (const Tensor& channel : {in.time_decay, in.time_first})
    check(channel.rows() == 1 && channel.cols() == in.k.cols(), "wkv",
          "expected time_decay and time_first [R, 1, {}], got {}", in.k.cols(),
          channel.shape.text());
  return graph.add(std::make_unique<Wkv>(in, graph.training(), graph.device()))[0];
}

}  // namespace recallbench
