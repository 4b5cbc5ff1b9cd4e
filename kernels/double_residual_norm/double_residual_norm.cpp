#include "kernels/double_residual_norm/double_residual_norm.h"

#include <array>

#include "kernels/double_residual_norm/double_residual_norm_cuda.h"
#include "kernels/graph/execution.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/norm_cuda.h"
#include "kernels/residual_norm/residual_norm_cpu.h"

namespace recallbench {
namespace {

/// Inputs: r, h, weight and bias of the first norm, of the second. Outputs: stream, normalised,
/// then inner and the statistics of both norms, for backward.
class DoubleResidualNorm : public TypedOperation<DoubleResidualNorm> {
 public:
  /// `random_ids` count only where p > 0.
  DoubleResidualNorm(const Tensor& r, const Tensor& h, double p,
                     std::array<std::uint32_t, 2> random_ids, const LayerNormWeights& first,
                     const LayerNormWeights& second, double eps, Device device)
      : p_(p), random_ids_(random_ids), eps_(eps) {
    reads(r, InBackward::unused);
    reads(h, InBackward::unused);
    for (const LayerNormWeights* norm : {&first, &second}) {
      reads(norm->weight, InBackward::read);
      // A GPU makes the stream again.
      reads(norm->bias, device == Device::cuda ? InBackward::read : InBackward::unused);
    }
    writes(r.shape, device == Device::cuda ? InBackward::unused : InBackward::read);
    writes(r.shape, InBackward::unused);
    saves(r.shape);
    saves(r.shape.with_cols(2));
    saves(r.shape.with_cols(2));
    may_reuse_input(1);
    const Index replicas = r.shape.replicas(), rows = r.rows(), cols = r.cols();
    const Index dense = replicas * dense_replica_stride(rows, cols);
    needs_scratch(dense, 2 * dense + residual_norm_scratch(replicas, rows, cols));
    if constexpr (kCudaBuild)
      if (device == Device::cuda) needs_partial_sums(2 * norm_cuda_scratch(replicas, rows, cols));
  }
  std::string_view name() const override { return "double_residual_norm"; }

  template <class T>
  void forward_as(Execution& e) {
    const Batched<T> inner = e.output<T>(2);
    const Batched<T> branch = dense<T>(e, 0);
    residual_norm_forward_cpu(dropout(e, 0), e.input<T>(0), e.input<T>(1), e.input<T>(2),
                              e.input<T>(3), eps_, inner, branch, e.output<T>(3));
    residual_norm_forward_cpu(dropout(e, 1), inner, branch, e.input<T>(4), e.input<T>(5), eps_,
                              e.output<T>(0), e.output<T>(1), e.output<T>(4));
  }

  template <class T>
  void backward_as(Execution& e) {
    const Batched<T> dinner = dense<T>(e, 0), dbranch = dense<T>(e, 1);
    T* rest = dense<T>(e, 2).data;
    residual_norm_backward_cpu(dropout(e, 1), e.output<T>(0), e.input<T>(4), e.output<T>(4),
                               e.output_gradient<T>(0), e.output_gradient<T>(1), true,
                               Gradient<T>{dinner, true, false}, Gradient<T>{dbranch, true, false},
                               e.input_gradient<T>(4), e.input_gradient<T>(5), rest);
    residual_norm_backward_cpu(dropout(e, 0), e.output<T>(2), e.input<T>(2), e.output<T>(3), dinner,
                               dbranch, true, e.input_gradient<T>(0), e.input_gradient<T>(1),
                               e.input_gradient<T>(2), e.input_gradient<T>(3), rest);
  }

  void forward_cuda(Execution& e) {
    double_residual_norm_forward_cuda(e.cuda(), norms(e), e.input<float>(0), e.input<float>(1),
                                      e.output<float>(0), e.output<float>(1));
  }
  void backward_cuda(Execution& e) {
    double_residual_norm_backward_cuda(e.cuda(), norms(e), e.output_gradient<float>(0),
                                       e.output_gradient<float>(1),
                                       {e.input_gradient<float>(0),
                                        e.input_gradient<float>(1),
                                        {e.input_gradient<float>(2), e.input_gradient<float>(4)},
                                        {e.input_gradient<float>(3), e.input_gradient<float>(5)}},
                                       e.scratch<float>());
  }

 private:
  DoubleResidualNormCuda norms(const Execution& e) const {
    return {{random_ids_[0], random_ids_[1]},
            p_,
            eps_,
            {e.input<float>(2), e.input<float>(4)},
            {e.input<float>(3), e.input<float>(5)},
            e.output<float>(2),
            {e.output<float>(3), e.output<float>(4)}};
  }
  /// The k-th tensor like r in scratch.
  template <class T>
  Batched<T> dense(const Execution& e, Index k) const {
    const Batched<T> like = e.output<T>(0);
    const Batched<T> first = dense_view(e.scratch<T>(), like.replicas, like.rows, like.cols);
    return dense_view(first.data + k * first.replicas * first.replica_stride, like.replicas,
                      like.rows, like.cols);
  }
  BranchDropout dropout(const Execution& e, std::size_t which) const {
    return {e.batch().seeds.data(), e.batch().step, random_ids_[which], p_};
  }

  double p_;
  std::array<std::uint32_t, 2> random_ids_;
  double eps_;
};

}  // namespace

ResidualNorm double_residual_norm(Graph& graph, const Tensor& r, const Tensor& h, double p,
                                  const LayerNormWeights& first, const LayerNormWeights& second,
                                  double eps) {
  check(r.shape == h.shape, "double_residual_norm",
        "expected two tensors of one shape, got {} and {}", r.shape.text(), h.shape.text());
  check(p >= 0 && p < 1, "double_residual_norm", "expected a probability in [0, 1), got {}", p);
  check_norm_weights("double_residual_norm", r, first.weight, first.bias);
  check_norm_weights("double_residual_norm", r, second.weight, second.bias);
  if (!graph.drops()) p = 0;
  std::array<std::uint32_t, 2> random_ids{};
  if (p > 0)
    for (std::uint32_t& id : random_ids)
      id = graph.next_random_id();
  const std::vector<Tensor> outputs = graph.add(std::make_unique<DoubleResidualNorm>(
      r, h, p, random_ids, first, second, eps, graph.device()));
  return {outputs[0], outputs[1]};
}

}  // namespace recallbench
