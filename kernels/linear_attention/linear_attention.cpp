#include "kernels/linear_attention/linear_attention.h"

#include "kernels/graph/execution.h"
#include "kernels/linear_attention/linear_attention_cpu.h"
#include "kernels/linear_attention/linear_attention_cuda.h"

namespace recallbench {
namespace {

class LinearAttention : public TypedOperation<LinearAttention> {
 public:
  LinearAttention(const Tensor& q, const Tensor& k, const Tensor& v,
                  const LinearAttentionOptions& options, Device device)
      : plan_{options,
              q.shape[1],
              q.shape[2],
              k.shape[2],
              q.cols() / options.heads,
              v.cols() / options.heads} {
    for (const Tensor& input : {q, k, v})
      reads(input, InBackward::read);
    writes(q.shape.with_cols(v.cols()), InBackward::read);
    saves(q.shape.with_cols(options.heads));
    needs_scratch(linear_attention_scratch(plan_, false), linear_attention_scratch(plan_, true));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(linear_attention_cuda_scratch(plan_, q.shape.replicas(), false),
                      linear_attention_cuda_scratch(plan_, q.shape.replicas(), true));
  }
  std::string_view name() const override { return "linear_attention"; }

  template <class T>
  void forward_as(Execution& e) {
    linear_attention_forward_cpu(plan_, tensors<T>(e));
  }
  template <class T>
  void backward_as(Execution& e) {
    linear_attention_backward_cpu(plan_, tensors<T>(e), gradients<T>(e));
  }

  void forward_cuda(Execution& e) {
    linear_attention_forward_cuda(e.cuda(), {plan_, tensors<float>(e)});
  }
  void backward_cuda(Execution& e) {
    linear_attention_backward_cuda(e.cuda(), {plan_, tensors<float>(e)}, gradients<float>(e));
  }

 private:
  template <class T>
  LinearAttentionTensors<T> tensors(Execution& e) const {
    check(!plan_.options.at_labels || e.batch().labels == plan_.queries, "linear_attention",
          "recorded for {} labels, the batch has {}", plan_.queries, e.batch().labels);
    return {e.input<T>(0),  e.input<T>(1),  e.input<T>(2),
            e.output<T>(0), e.output<T>(1), plan_.options.at_labels ? e.batch().positions : nullptr,
            e.scratch<T>()};
  }
  template <class T>
  static LinearAttentionGradients<T> gradients(Execution& e) {
    return {e.output_gradient<T>(0), e.input_gradient<T>(0), e.input_gradient<T>(1),
            e.input_gradient<T>(2)};
  }

  LinearAttentionPlan plan_;
};

}  // namespace

Tensor linear_attention(Graph& graph, const Tensor& q, const Tensor& k, const Tensor& v,
                        const LinearAttentionOptions& options) {
  const Index heads = options.heads;
  check(q.shape.rank() == 4 && k.shape.rank() == 4 && v.shape.rank() == 4, "linear_attention",
        "expected q, k, v of four dimensions, got {}, {}, {}", q.shape.text(), k.shape.text(),
        v.shape.text());
  check(heads >= 1 && q.cols() == k.cols() && q.cols() % heads == 0 && v.cols() % heads == 0,
        "linear_attention",
        "expected q and k with equal columns, all divisible by {} heads, got "
        "q {}, k {}, v {}",
        heads, q.shape.text(), k.shape.text(), v.shape.text());
  check(q.shape[1] == k.shape[1] && k.shape[1] == v.shape[1] && k.shape[2] == v.shape[2] &&
            (options.at_labels || q.shape[2] == k.shape[2]),
        "linear_attention", "expected the same examples and positions, got q {}, k {}, v {}",
        q.shape.text(), k.shape.text(), v.shape.text());
  check(options.kernel == LinearKernel::taylor || options.scale == 1.0, "linear_attention",
        "expected scale 1 with given features, got {}", options.scale);
  return graph.add(std::make_unique<LinearAttention>(q, k, v, options, graph.device()))[0];
}

}  // namespace recallbench
