#include "kernels/sigmoid_decay/sigmoid_decay.h"

#include "kernels/graph/execution.h"
#include "kernels/sigmoid_decay/sigmoid_decay_cpu.h"
#include "kernels/sigmoid_decay/sigmoid_decay_cuda.h"

namespace recallbench {
namespace {

class SigmoidDecay : public TypedOperation<SigmoidDecay> {
 public:
  SigmoidDecay(const Tensor& x, const SigmoidDecayOptions& options) : options_(options) {
    reads(x, InBackward::read);
    writes(x.shape, InBackward::unused);
    may_reuse_input(0);
  }
  std::string_view name() const override { return "sigmoid_decay"; }

  template <class T>
  void forward_as(Execution& e) {
    sigmoid_decay_cpu(options_, e.input<T>(0), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    sigmoid_decay_backward_cpu(options_, e.input<T>(0), e.output_gradient<T>(0),
                               e.input_gradient<T>(0));
  }

  void forward_cuda(Execution& e) {
    sigmoid_decay_cuda(e.cuda(), on_device(), e.input<float>(0), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    sigmoid_decay_backward_cuda(e.cuda(), on_device(), e.input<float>(0),
                                e.output_gradient<float>(0), e.input_gradient<float>(0));
  }

 private:
  SigmoidDecayCuda on_device() const {
    return {static_cast<float>(options_.divisor), static_cast<float>(options_.lower_bound),
            static_cast<float>(options_.clamp_min)};
  }

  SigmoidDecayOptions options_;
};

class BoundedDecay : public TypedOperation<BoundedDecay> {
 public:
  BoundedDecay(const Tensor& x, double bound) : bound_(bound) {
    reads(x, InBackward::read);
    writes(x.shape, InBackward::unused);
    may_reuse_input(0);
  }
  std::string_view name() const override { return "bounded_decay"; }

  template <class T>
  void forward_as(Execution& e) {
    bounded_decay_cpu(bound_, e.input<T>(0), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    bounded_decay_backward_cpu(bound_, e.input<T>(0), e.output_gradient<T>(0),
                               e.input_gradient<T>(0));
  }

  void forward_cuda(Execution& e) {
    bounded_decay_cuda(e.cuda(), static_cast<float>(bound_), e.input<float>(0), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    bounded_decay_backward_cuda(e.cuda(), static_cast<float>(bound_), e.input<float>(0),
                                e.output_gradient<float>(0), e.input_gradient<float>(0));
  }

 private:
  double bound_;
};

class DecayComplement : public TypedOperation<DecayComplement> {
 public:
  explicit DecayComplement(const Tensor& g) {
    reads(g, InBackward::read);
    writes(g.shape, InBackward::unused);
    may_reuse_input(0);
  }
  std::string_view name() const override { return "decay_complement"; }

  template <class T>
  void forward_as(Execution& e) {
    decay_complement_cpu(e.input<T>(0), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    decay_complement_backward_cpu(e.input<T>(0), e.output_gradient<T>(0), e.input_gradient<T>(0));
  }

  void forward_cuda(Execution& e) {
    decay_complement_cuda(e.cuda(), e.input<float>(0), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    decay_complement_backward_cuda(e.cuda(), e.input<float>(0), e.output_gradient<float>(0),
                                   e.input_gradient<float>(0));
  }
};

}  // namespace

Tensor sigmoid_decay(Graph& graph, const Tensor& x, const SigmoidDecayOptions& options) {
  check(options.divisor > 0, "sigmoid_decay", "expected a divisor above 0, got {}",
        options.divisor);
  check(options.lower_bound >= 0 && options.lower_bound < 1, "sigmoid_decay",
        "expected a lower bound in [0, 1), got {}", options.lower_bound);
  check(options.clamp_min <= 0, "sigmoid_decay", "expected clamp_min of at most 0, got {}",
        options.clamp_min);
  return graph.add(std::make_unique<SigmoidDecay>(x, options))[0];
}

Tensor bounded_decay(Graph& graph, const Tensor& x, double bound) {
  check(bound > 0, "bounded_decay", "expected a bound above 0, got {}", bound);
  return graph.add(std::make_unique<BoundedDecay>(x, bound))[0];
}

Tensor decay_complement(Graph& graph, const Tensor& g) {
  return graph.add(std::make_unique<DecayComplement>(g))[0];
}

}  // namespace recallbench
