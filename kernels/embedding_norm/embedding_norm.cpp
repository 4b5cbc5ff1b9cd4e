#include "kernels/embedding_norm/embedding_norm.h"

#include "kernels/embedding/embedding_cpu.h"
#include "kernels/embedding/embedding_cuda.h"
#include "kernels/embedding_norm/embedding_norm_cuda.h"
#include "kernels/graph/execution.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/norm_cuda.h"
#include "kernels/residual_norm/residual_norm_cpu.h"
#include "kernels/residual_norm/residual_norm_cuda.h"

namespace recallbench {
namespace {

class EmbeddingNorm : public TypedOperation<EmbeddingNorm> {
 public:
  /// `random_id` counts only where p > 0.
  EmbeddingNorm(const Tensor& table, Index examples, Index length, double p,
                std::uint32_t random_id, const Tensor& weight, const std::optional<Tensor>& bias,
                double eps, Device device)
      : p_(p), random_id_(random_id), centred_(bias.has_value()), eps_(eps) {
    reads(table, InBackward::unused);
    reads(weight, InBackward::read);
    if (bias) reads(*bias, InBackward::unused);
    const Shape shape{table.shape[0], examples, length, table.cols()};
    writes(shape, InBackward::read);
    writes(shape, InBackward::unused);
    saves(shape.with_cols(2));
    const Index replicas = shape.replicas(), rows = examples * length, cols = table.cols();
    const Index gradient = replicas * dense_replica_stride(rows, cols);
    needs_scratch(0, gradient + residual_norm_scratch(replicas, rows, cols));
    if constexpr (kCudaBuild)
      if (device == Device::cuda) {
        const Index sums = norm_cuda_scratch(replicas, rows, cols);
        needs_scratch(token_sort_cuda_numbers(replicas, rows, table.rows()),
                      gradient + sums + embedding_cuda_scratch(replicas, rows, cols));
        leaves_partial_sums(sums);
        works_beside({}, {});
      }
  }
  std::string_view name() const override { return "embedding_norm"; }

  template <class T>
  void forward_as(Execution& e) {
    const Batched<T> stream = e.output<T>(0);
    check_tokens("embedding_norm", e.batch(), stream.rows);
    embedding_cpu(e.batch().tokens, e.input<T>(0), stream);
    residual_norm_forward_cpu(dropout(e), {}, stream, e.input<T>(1), bias<T>(e), eps_, stream,
                              e.output<T>(1), e.output<T>(2));
  }

  template <class T>
  void backward_as(Execution& e) {
    const Gradient<T> embedded = embedded_gradient<T>(e);
    residual_norm_backward_cpu(dropout(e), e.output<T>(0), e.input<T>(1), e.output<T>(2),
                               e.output_gradient<T>(0), e.output_gradient<T>(1), centred_,
                               Gradient<T>{}, embedded, e.input_gradient<T>(1), dbias<T>(e),
                               rest_of_scratch(e, embedded));
    embedding_backward_cpu(e.batch().tokens, embedded.view, e.input_gradient<T>(0));
  }

  void forward_cuda(Execution& e) {
    const Batched<float> stream = e.output<float>(0);
    check_tokens("embedding_norm", e.batch(), stream.rows);
    if (e.input_gradient<float>(0).wanted)
      sort_tokens_cuda(e.beside(), e.batch().tokens, e.replicas(), stream.rows,
                       e.input<float>(0).rows, e.scratch<float>());
    embedding_norm_forward_cuda(e.cuda(), random_id_, p_, e.batch().tokens, e.input<float>(0),
                                e.input<float>(1), bias<float>(e), eps_, stream, e.output<float>(1),
                                e.output<float>(2));
  }

  void backward_cuda(Execution& e) {
    const Gradient<float> embedded = embedded_gradient<float>(e);
    residual_norm_backward_cuda(
        e.cuda(), random_id_, p_, e.output<float>(0), e.input<float>(1), e.output<float>(2),
        e.output_gradient<float>(0), e.output_gradient<float>(1), centred_, Gradient<float>{},
        embedded, e.input_gradient<float>(1), dbias<float>(e), rest_of_scratch(e, embedded));
    const Index sums =
        norm_cuda_scratch(embedded.view.replicas, embedded.view.rows, embedded.view.cols);
    embedding_backward_cuda(e.cuda(), e.forward_scratch<float>(), embedded.view,
                            e.input_gradient<float>(0), rest_of_scratch(e, embedded) + sums);
  }

 private:
  /// Room for the gradient of the embeddings, before what the steps need for themselves.
  template <class T>
  Gradient<T> embedded_gradient(const Execution& e) const {
    const Batched<T> like = e.output<T>(0);
    const bool wanted = e.input_gradient<T>(0).wanted;
    return {dense_view(e.scratch<T>(), like.replicas, like.rows, like.cols), wanted, false};
  }
  template <class T>
  T* rest_of_scratch(const Execution& e, const Gradient<T>& embedded) const {
    return e.scratch<T>() + embedded.view.replicas * embedded.view.replica_stride;
  }
  template <class T>
  Batched<T> bias(const Execution& e) const {
    return centred_ ? e.input<T>(2) : Batched<T>{};
  }
  template <class T>
  Gradient<T> dbias(const Execution& e) const {
    return centred_ ? e.input_gradient<T>(2) : Gradient<T>{};
  }
  BranchDropout dropout(const Execution& e) const {
    return {e.batch().seeds.data(), e.batch().step, random_id_, p_};
  }

  double p_;
  std::uint32_t random_id_;
  bool centred_;
  double eps_;
};

}  // namespace

ResidualNorm embedding_norm(Graph& graph, const Tensor& table, Index examples, Index length,
                            double p, const Tensor& weight, std::optional<Tensor> bias,
                            double eps) {
  check(table.shape.rank() == 3, "embedding_norm", "expected a table [R, V, D], got {}",
        table.shape.text());
  check(p >= 0 && p < 1, "embedding_norm", "expected a probability in [0, 1), got {}", p);
  check_norm_weights("embedding_norm", table, weight, bias);
  if (!graph.drops()) p = 0;
  const std::uint32_t random_id = p > 0 ? graph.next_random_id() : 0;
  const std::vector<Tensor> outputs = graph.add(std::make_unique<EmbeddingNorm>(
      table, examples, length, p, random_id, weight, bias, eps, graph.device()));
  return {outputs[0], outputs[1]};
}

}  // namespace recallbench
