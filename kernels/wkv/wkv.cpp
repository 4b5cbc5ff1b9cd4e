#include "kernels/wkv/wkv.h"

#include "kernels/graph/execution.h"
#include "kernels/wkv/wkv_cpu.h"

namespace recallbench {
namespace {

class Wkv : public TypedOperation<Wkv> {
 public:
  explicit Wkv(const WkvInputs& in) : size_{in.k.shape[1], in.k.shape[2], in.k.cols()} {
    for (const Tensor& tensor : {in.k, in.v, in.time_decay, in.time_first})
      reads(tensor, InBackward::read);
    writes(in.k.shape, InBackward::read);
    needs_scratch(0, wkv_scratch(size_));
  }
  std::string_view name() const override { return "wkv"; }

  template <class T>
  void forward_as(Execution& e) {
    wkv_forward_cpu(size_, views<T>(e), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    const WkvGradients<T> gradients{e.input_gradient<T>(0), e.input_gradient<T>(1),
                                    e.input_gradient<T>(2), e.input_gradient<T>(3)};
    wkv_backward_cpu(size_, views<T>(e), e.output<T>(0), e.output_gradient<T>(0), gradients,
                     e.scratch<T>());
  }

 private:
  template <class T>
  WkvViews<T> views(Execution& e) const {
    return {e.input<T>(0), e.input<T>(1), e.input<T>(2), e.input<T>(3)};
  }

  WkvSize size_;
};

}  // namespace

Tensor wkv(Graph& graph, const WkvInputs& in) {
  check(in.k.shape.rank() == 4 && in.v.shape == in.k.shape, "wkv",
        "expected k and v [R, B, L, C], got {} and {}", in.k.shape.text(), in.v.shape.text());
  for (const Tensor& channel : {in.time_decay, in.time_first})
    check(channel.rows() == 1 && channel.cols() == in.k.cols(), "wkv",
          "expected time_decay and time_first [R, 1, {}], got {}", in.k.cols(),
          channel.shape.text());
  return graph.add(std::make_unique<Wkv>(in))[0];
}

}  // namespace recallbench
