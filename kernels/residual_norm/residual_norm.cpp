#include "kernels/residual_norm/residual_norm.h"

#include "kernels/dropout/dropout_cpu.h"
#include "kernels/elementwise/elementwise_cpu.h"
#include "kernels/graph/execution.h"
#include "kernels/norm/norm_cpu.h"
#include "kernels/norm/norm_cuda.h"
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
    if (h.value != r.value) may_reuse_input(1);
    sum_stride_ = static_cast<Index>(align_up(static_cast<std::size_t>(r.shape.per_replica())));
    needs_scratch(0, r.shape.replicas() * sum_stride_ + norm_scratch(r.rows(), r.cols()));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, norm_cuda_scratch(r.shape.replicas(), r.rows(), r.cols()));
  }
  std::string_view name() const override { return "residual_norm"; }

  template <class T>
  void forward_as(Execution& e) {
    const Batched<T> r = e.input<T>(0), stream = e.output<T>(0);
    Batched<T> h = e.input<T>(1);
    if (p_ > 0) {
      for (Index i = 0; i < e.replicas(); ++i)
        dropout_cpu(mask(e, i), h.replica(i), stream.replica(i), false);
      h = stream;
    }
    add_cpu(r, h, stream);
    norm_forward_cpu(stream, e.input<T>(2), bias<T>(e), eps_, e.output<T>(1), e.output<T>(2));
  }

  template <class T>
  void backward_as(Execution& e) {
    const Gradient<T> dr = e.input_gradient<T>(0), dh = e.input_gradient<T>(1);
    const Batched<T> dstream = e.output_gradient<T>(0);
    // The gradient of the stream, from both its uses.
    const Batched<T> sum{e.scratch<T>(), e.replicas(), dstream.rows,
                         dstream.cols,   dstream.cols, sum_stride_};
    copy_cpu(dstream, {sum, true, false});
    norm_backward_cpu(e.output<T>(0), e.input<T>(2), e.output<T>(2), e.output_gradient<T>(1),
                      centred_, {sum, true, true}, e.input_gradient<T>(2), dbias<T>(e),
                      e.scratch<T>() + e.replicas() * sum_stride_);
    copy_cpu(sum, dr);
    if (p_ == 0) return copy_cpu(sum, dh);
    for (Index i = 0; dh.wanted && i < e.replicas(); ++i)
      dropout_cpu(mask(e, i), sum.replica(i), dh.view.replica(i), dh.accumulate);
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
  DropoutMask mask(const Execution& e, Index replica) const {
    return {e.batch().seeds[static_cast<std::size_t>(replica)], e.batch().step, random_id_, p_};
  }

  double p_;
  std::uint32_t random_id_;
  bool centred_;
  double eps_;
  Index sum_stride_;  // of the scratch gradient, from replica to replica
};

}  // namespace

ResidualNorm residual_norm(Graph& graph, const Tensor& r, const Tensor& h, double p,
                           const Tensor& weight, std::optional<Tensor> bias, double eps) {
  check(r.shape == h.shape, "residual_norm", "expected two tensors of one shape, got {} and {}",
        r.shape.text(), h.shape.text());
  check(p >= 0 && p < 1, "residual_norm", "expected a probability in [0, 1), got {}", p);
  for (const Tensor* affine : {&weight, bias ? &*bias : &weight})
    check(affine->rows() == 1 && affine->cols() == r.cols(), "residual_norm",
          "expected weight and bias [R, 1, {}] for r {}, got {}", r.cols(), r.shape.text(),
          affine->shape.text());
  const std::uint32_t random_id = p > 0 ? graph.next_random_id() : 0;
  const std::vector<Tensor> outputs = graph.add(std::make_unique<ResidualNormOperation>(
      r, h, p, random_id, weight, bias, eps, graph.device()));
  return {outputs[0], outputs[1]};
}

}  // namespace recallbench
