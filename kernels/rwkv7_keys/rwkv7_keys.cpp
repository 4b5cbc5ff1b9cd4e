#include "kernels/rwkv7_keys/rwkv7_keys.h"

#include "kernels/graph/execution.h"
#include "kernels/rwkv7_keys/rwkv7_keys_cpu.h"
#include "kernels/rwkv7_keys/rwkv7_keys_cuda.h"

namespace recallbench {
namespace {

class Rwkv7KeysOperation : public TypedOperation<Rwkv7KeysOperation> {
 public:
  Rwkv7KeysOperation(const Rwkv7KeyInputs& in, Index heads, Device device) : heads_(heads) {
    for (const Tensor& tensor : {in.k, in.logit, in.k_k, in.k_a})
      reads(tensor, InBackward::read);
    for (int output = 0; output < 3; ++output)
      writes(in.k.shape, InBackward::unused);
    needs_scratch(0, rwkv7_keys_scratch(in.k.rows(), in.k.cols()));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, rwkv7_keys_cuda_scratch(in.k.shape.replicas(), in.k.rows(), in.k.cols()));
  }
  std::string_view name() const override { return "rwkv7_keys"; }

  template <class T>
  void forward_as(Execution& e) {
    rwkv7_keys_forward_cpu(heads_, views<T>(e), keys<T>(e));
  }
  template <class T>
  void backward_as(Execution& e) {
    rwkv7_keys_backward_cpu(heads_, views<T>(e), key_gradients<T>(e), gradients<T>(e),
                            e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    rwkv7_keys_forward_cuda(e.cuda(), heads_, views<float>(e), keys<float>(e));
  }
  void backward_cuda(Execution& e) {
    rwkv7_keys_backward_cuda(e.cuda(), heads_, views<float>(e), key_gradients<float>(e),
                             gradients<float>(e), e.scratch<float>());
  }

 private:
  template <class T>
  Rwkv7KeyViews<T> views(Execution& e) const {
    return {e.input<T>(0), e.input<T>(1), e.input<T>(2), e.input<T>(3)};
  }
  template <class T>
  Rwkv7KeyGradients<T> gradients(Execution& e) const {
    return {e.input_gradient<T>(0), e.input_gradient<T>(1), e.input_gradient<T>(2),
            e.input_gradient<T>(3)};
  }

  template <class T>
  Rwkv7KeyOutputs<T> keys(Execution& e) const {
    return {e.output<T>(0), e.output<T>(1), e.output<T>(2)};
  }
  template <class T>
  Rwkv7KeyOutputs<T> key_gradients(Execution& e) const {
    return {e.output_gradient<T>(0), e.output_gradient<T>(1), e.output_gradient<T>(2)};
  }

  Index heads_;
};

}  // namespace

Rwkv7Keys rwkv7_keys(Graph& graph, const Rwkv7KeyInputs& in, Index heads) {
  check(in.logit.shape == in.k.shape && heads >= 1 && in.k.cols() % heads == 0, "rwkv7_keys",
        "expected k and logit of one shape, columns divisible by {} heads, got {} and {}", heads,
        in.k.shape.text(), in.logit.shape.text());
  for (const Tensor& channel : {in.k_k, in.k_a})
    check(channel.rows() == 1 && channel.cols() == in.k.cols(), "rwkv7_keys",
          "expected k_k and k_a [R, 1, {}], got {}", in.k.cols(), channel.shape.text());
  const std::vector<Tensor> out =
      graph.add(std::make_unique<Rwkv7KeysOperation>(in, heads, graph.device()));
  return {out[0], out[1], out[2]};
}

}  // namespace recallbench
