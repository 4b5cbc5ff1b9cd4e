#include "kernels/residual_norm/residual_norm.h"

#include "kernels/graph/execution.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/norm_cuda.h"
#include "kernels/residual_norm/residual_norm_cpu.h"
#include "kernels/residual_norm/residual_norm_cuda.h"

namespace recallbench {
namespace {

class ResidualNormOperation : public TypedOperation<ResidualNormOperation> {
 public:
  /// `random_id` counts only where p > 0.
  ResidualNormOperation(const Tensor& r, const Tensor& h, double p, std::uint32_t random_id,
                        const Tensor& weight, const std::optional<Tensor>& bias, double eps,
                        Device device)
      : p_(p), random_id_(random_id), centred_(bias.has_value()), eps_(eps) {
    reads(r, InBackward::unused);
    reads(h, InBackward::unused);
    reads(weight, InBackward::read);
    if (bias) reads(*bias, InBackward::unused);
    writes(r.shape, InBackward::read);
    writes(r.shape, InBackward::unused);
    saves(r.shape.with_cols(2));
    may_reuse_input(1);
    needs_scratch(0, residual_norm_scratch(r.shape.replicas(), r.rows(), r.cols()));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_partial_sums(norm_cuda_scratch(r.shape.replicas(), r.rows(), r.cols()));
  }
  std::string_view name() const override { return "residual_norm"; }

  template <class T>
  void forward_as(Execution& e) {
    residual_norm_forward_cpu(dropout(e), e.input<T>(0), e.input<T>(1), e.input<T>(2), bias<T>(e),
                              eps_, e.output<T>(0), e.output<T>(1), e.output<T>(2));
  }
  template <class T>
  void backward_as(Execution& e) {
    residual_norm_backward_cpu(dropout(e), e.output<T>(0), e.input<T>(2), e.output<T>(2),
                               e.output_gradient<T>(0), e.output_gradient<T>(1), centred_,
                               e.input_gradient<T>(0), e.input_gradient<T>(1),
                               e.input_gradient<T>(2), dbias<T>(e), e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    residual_norm_forward_cuda(e.cuda(), random_id_, p_, e.input<float>(0), e.input<float>(1),
                               e.input<float>(2), bias<float>(e), eps_, e.output<float>(0),
                               e.output<float>(1), e.output<float>(2));
  }
  void backward_cuda(Execution& e) {
    residual_norm_backward_cuda(e.cuda(), random_id_, p_, e.output<float>(0), e.input<float>(2),
                                e.output<float>(2), e.output_gradient<float>(0),
                                e.output_gradient<float>(1), centred_, e.input_gradient<float>(0),
                                e.input_gradient<float>(1), e.input_gradient<float>(2),
                                dbias<float>(e), e.scratch<float>());
  }

 private:
  template <class T>
  Batched<T> bias(const Execution& e) const {
    return centred_ ? e.input<T>(3) : Batched<T>{};
  }
  template <class T>
  Gradient<T> dbias(const Execution& e) const {
    return centred_ ? e.input_gradient<T>(3) : Gradient<T>{};
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

ResidualNorm residual_norm(Graph& graph, const Tensor& r, const Tensor& h, double p,
                           const Tensor& weight, std::optional<Tensor> bias, double eps) {
  check(r.shape == h.shape, "residual_norm", "expected two tensors of one shape, got {} and {}",
        r.shape.text(), h.shape.text());
  check(p >= 0 && p < 1, "residual_norm", "expected a probability in [0, 1), got {}", p);
  check_norm_weights("residual_norm", r, weight, bias);
  if (!graph.drops()) p = 0;
  const std::uint32_t random_id = p > 0 ? graph.next_random_id() : 0;
  const std::vector<Tensor> outputs = graph.add(std::make_unique<ResidualNormOperation>(
      r, h, p, random_id, weight, bias, eps, graph.device()));
  return {outputs[0], outputs[1]};
}

}  // namespace recallbench
