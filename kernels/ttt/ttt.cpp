#include "kernels/ttt/ttt.h"

#include "kernels/graph/execution.h"
#include "kernels/ttt/ttt_cpu.h"
#include "kernels/ttt/ttt_cuda.h"

namespace recallbench {
namespace {

class Ttt : public TypedOperation<Ttt> {
 public:
  Ttt(const std::vector<Tensor>& tensors, const TttSize& size, bool training, Device device)
      : size_(size) {
    for (const Tensor& tensor : tensors)
      reads(tensor, InBackward::read);
    writes(tensors[0].shape, InBackward::unused);
    if (device == Device::cuda)
      prepare_cuda(tensors[0].shape.replicas(), training);
    else
      needs_scratch(ttt_scratch(size_, false), ttt_scratch(size_, true));
  }
  std::string_view name() const override { return "ttt"; }

  template <class T>
  void forward_as(Execution& e) {
    ttt_forward_cpu(size_, views<T>(e), e.output<T>(0), e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution& e) {
    TttGradients<T> gradients;
    for (int i = 0; i < count(); ++i)
      gradients.all[i] = e.input_gradient<T>(i);
    ttt_backward_cpu(size_, views<T>(e), e.output_gradient<T>(0), gradients, e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    ttt_forward_cuda(e.cuda(), size_, views<float>(e), models(e), e.output<float>(0),
                     e.scratch<float>());
  }
  void backward_cuda(Execution& e) {
    TttGradients<float> gradients;
    for (int i = 0; i < count(); ++i)
      gradients.all[i] = e.input_gradient<float>(i);
    ttt_backward_cuda(e.cuda(), size_, views<float>(e), models(e), e.output_gradient<float>(0),
                      gradients, e.scratch<float>());
  }

 private:
  void prepare_cuda([[maybe_unused]] Index replicas, [[maybe_unused]] bool training) {
    if constexpr (kCudaBuild) {
      const Index chunks = (size_.length + size_.mini_batch - 1) / size_.mini_batch;
      keeps_models_ = training;
      if (keeps_models_)
        saves(Shape{replicas, size_.examples, chunks, size_.heads * ttt_cuda_model_numbers(size_)});
      needs_scratch(ttt_forward_cuda_scratch(size_, replicas),
                    ttt_backward_cuda_scratch(size_, replicas));
    }
  }
  Batched<float> models(Execution& e) const {
    return keeps_models_ ? e.output<float>(1) : Batched<float>{};
  }
  int count() const { return static_cast<int>(inputs().size()); }
  template <class T>
  TttViews<T> views(Execution& e) const {
    TttViews<T> v;
    for (int i = 0; i < count(); ++i)
      v.all[i] = e.input<T>(i);
    return v;
  }

  TttSize size_;
  bool keeps_models_ = false;  // inner models before each mini-batch, on a GPU
};

void check_layer(const TttLayer& layer, Index heads, Index in, Index out) {
  check(layer.weight.rows() == heads * in && layer.weight.cols() == out &&
            layer.bias.rows() == heads && layer.bias.cols() == out,
        "ttt", "expected a layer of weight [R, {}, {}] and bias [R, {}, {}], got {} and {}",
        heads * in, out, heads, out, layer.weight.shape.text(), layer.bias.shape.text());
}

}  // namespace

Tensor ttt(Graph& graph, const TttInputs& in, double scale) {
  check(in.q.shape.rank() == 4 && in.k.shape == in.q.shape && in.v.shape == in.q.shape, "ttt",
        "expected q, k, v [R, B, L, H f], got {}, {}, {}", in.q.shape.text(), in.k.shape.text(),
        in.v.shape.text());
  const Index heads = in.rate.cols();
  check(in.rate.shape == in.q.shape.with_cols(heads) && in.q.cols() % heads == 0, "ttt",
        "expected rate [R, B, L, H] with H dividing {} columns, got {}", in.q.cols(),
        in.rate.shape.text());
  const Index head_dim = in.q.cols() / heads, hidden = in.second ? in.first.weight.cols() : 0;
  for (const Tensor& p : {in.norm, in.norm_bias})
    check(p.rows() == heads && p.cols() == head_dim, "ttt",
          "expected norm and norm_bias [R, {}, {}], got {}", heads, head_dim, p.shape.text());
  check(in.step.rows() == 1, "ttt", "expected step [R, 1, b], got {}", in.step.shape.text());
  std::vector<Tensor> tensors = {
      in.q, in.k, in.v, in.rate, in.step, in.norm, in.norm_bias, in.first.weight, in.first.bias};
  check_layer(in.first, heads, head_dim, in.second ? hidden : head_dim);
  if (in.second) {
    check_layer(*in.second, heads, hidden, head_dim);
    tensors.push_back(in.second->weight);
    tensors.push_back(in.second->bias);
  }
  const TttSize size{in.q.shape[1], in.q.shape[2], heads, head_dim, in.step.cols(), hidden, scale};
  return graph.add(std::make_unique<Ttt>(tensors, size, graph.training(), graph.device()))[0];
}

}  // namespace recallbench
