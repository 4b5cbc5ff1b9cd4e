#include "kernels/ssd/ssd.h"

#include "kernels/graph/execution.h"
#include "kernels/ssd/ssd_cpu.h"
#include "kernels/ssd/ssd_cuda.h"

namespace recallbench {
namespace {

class Ssd : public TypedOperation<Ssd> {
 public:
  Ssd(const SsdInputs& in, const SsdSize& size, [[maybe_unused]] bool training, Device device)
      : size_(size) {
    for (const Tensor& tensor : {in.x, in.dt, in.dt_bias, in.a_log, in.b, in.c, in.d})
      reads(tensor, InBackward::read);
    writes(in.x.shape, InBackward::unused);
    needs_scratch(ssd_scratch(size_, false), ssd_scratch(size_, true));
    if constexpr (kCudaBuild)
      if (device == Device::cuda) {
        const Index replicas = in.x.shape.replicas(), kept = ssd_kept_states(size_);
        needs_scratch(0, ssd_cuda_scratch(replicas, size_));
        keeps_states_ = training && kept > 0;
        if (keeps_states_) saves(Shape{replicas, size_.examples, kept, ssd_kept_numbers(size_)});
      }
  }
  std::string_view name() const override { return "ssd"; }

  template <class T>
  void forward_as(Execution& e) {
    ssd_forward_cpu(size_, views<T>(e), e.output<T>(0), e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution& e) {
    ssd_backward_cpu(size_, views<T>(e), e.output_gradient<T>(0), gradients<T>(e), e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    ssd_forward_cuda(e.cuda(), size_, views<float>(e), e.output<float>(0), kept(e));
  }
  void backward_cuda(Execution& e) {
    ssd_backward_cuda(e.cuda(), size_, views<float>(e), kept(e), e.output_gradient<float>(0),
                      gradients<float>(e), e.scratch<float>());
  }

 private:
  Batched<float> kept(Execution& e) const {
    return keeps_states_ ? e.output<float>(1) : Batched<float>{};
  }
  template <class T>
  SsdGradients<T> gradients(Execution& e) const {
    return {e.input_gradient<T>(0), e.input_gradient<T>(1), e.input_gradient<T>(2),
            e.input_gradient<T>(3), e.input_gradient<T>(4), e.input_gradient<T>(5),
            e.input_gradient<T>(6)};
  }
  template <class T>
  SsdViews<T> views(Execution& e) const {
    return {e.input<T>(0), e.input<T>(1), e.input<T>(2), e.input<T>(3),
            e.input<T>(4), e.input<T>(5), e.input<T>(6)};
  }

  SsdSize size_;
  bool keeps_states_ = false;
};

}  // namespace

Tensor ssd(Graph& graph, const SsdInputs& in, Index groups) {
  check(in.x.shape.rank() == 4 && in.dt.shape == in.x.shape.with_cols(in.dt.cols()), "ssd",
        "expected x [R, B, L, H P] and dt [R, B, L, H], got {} and {}", in.x.shape.text(),
        in.dt.shape.text());
  const Index heads = in.dt.cols();
  check(in.x.cols() % heads == 0 && groups >= 1 && heads % groups == 0, "ssd",
        "expected heads that divide {} channels and are divided by {} groups, got {}", in.x.cols(),
        groups, heads);
  check(in.b.shape == in.x.shape.with_cols(in.b.cols()) && in.c.shape == in.b.shape &&
            in.b.cols() % groups == 0,
        "ssd", "expected b and c [R, B, L, {} N] for x {}, got {} and {}", groups,
        in.x.shape.text(), in.b.shape.text(), in.c.shape.text());
  for (const Tensor& p : {in.dt_bias, in.a_log})
    check(p.rows() == 1 && p.cols() == heads, "ssd",
          "expected dt_bias and a_log [R, 1, {}], got {} and {}", heads, in.dt_bias.shape.text(),
          in.a_log.shape.text());
  check(in.d.rows() == 1 && (in.d.cols() == heads || in.d.cols() == in.x.cols()), "ssd",
        "expected d [R, 1, {}] or [R, 1, {}], got {}", heads, in.x.cols(), in.d.shape.text());
  const SsdSize size{in.x.shape[1], in.x.shape[2],        heads,      in.x.cols() / heads,
                     groups,        in.b.cols() / groups, in.d.cols()};
  return graph.add(std::make_unique<Ssd>(in, size, graph.training(), graph.device()))[0];
}

}  // namespace recallbench
