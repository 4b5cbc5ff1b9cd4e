#include "mixers/hyena/filter.h"

#include "kernels/graph/execution.h"
#include "mixers/hyena/filter_cpu.h"
#include "mixers/hyena/filter_cuda.h"

namespace recallbench {
namespace {

class Sine : public TypedOperation<Sine> {
 public:
  Sine(const Tensor& x, const Tensor& frequency) {
    reads(x, InBackward::read);
    reads(frequency, InBackward::read);
    writes(x.shape, InBackward::unused);
  }
  std::string_view name() const override { return "sine"; }

  template <class T>
  void forward_as(Execution& e) {
    sine_forward_cpu(e.input<T>(0), e.input<T>(1), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    sine_backward_cpu(e.input<T>(0), e.input<T>(1), e.output_gradient<T>(0), e.input_gradient<T>(0),
                      e.input_gradient<T>(1));
  }

  void forward_cuda(Execution& e) {
    sine_forward_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    sine_backward_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), e.output_gradient<float>(0),
                       e.input_gradient<float>(0), e.input_gradient<float>(1));
  }
};

class ExponentialWindow : public TypedOperation<ExponentialWindow> {
 public:
  ExponentialWindow(const Tensor& h, const Tensor& times, const Tensor& rates, double shift)
      : shift_(shift) {
    reads(h, InBackward::unused);
    reads_constant(times, InBackward::read);
    reads_constant(rates, InBackward::read);
    writes(h.shape, InBackward::unused);
  }
  std::string_view name() const override { return "exponential_window"; }

  template <class T>
  void forward_as(Execution& e) {
    exponential_window_cpu(e.input<T>(0), e.input<T>(1), e.input<T>(2), shift_, e.output<T>(0),
                           false);
  }
  /// y is linear in h: dh is dy in the same window.
  template <class T>
  void backward_as(Execution& e) {
    const Gradient<T> dh = e.input_gradient<T>(0);
    if (dh.wanted)
      exponential_window_cpu(e.output_gradient<T>(0), e.input<T>(1), e.input<T>(2), shift_, dh.view,
                             dh.accumulate);
  }

  void forward_cuda(Execution& e) {
    exponential_window_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), e.input<float>(2),
                            shift_, {e.output<float>(0), true});
  }
  void backward_cuda(Execution& e) {
    exponential_window_cuda(e.cuda(), e.output_gradient<float>(0), e.input<float>(1),
                            e.input<float>(2), shift_, e.input_gradient<float>(0));
  }

 private:
  double shift_;
};

}  // namespace

Tensor sine(Graph& graph, const Tensor& x, const Tensor& frequency) {
  check(frequency.rows() == 1 && frequency.cols() == x.cols(), "sine",
        "expected frequency [R, 1, {}] for x {}, got {}", x.cols(), x.shape.text(),
        frequency.shape.text());
  return graph.add(std::make_unique<Sine>(x, frequency))[0];
}

Tensor exponential_window(Graph& graph, const Tensor& h, const Tensor& times, const Tensor& rates,
                          double shift) {
  check(times.rows() == h.rows() && times.cols() == 1 && rates.rows() == 1 &&
            rates.cols() == h.cols(),
        "exponential_window", "expected times [R, {}, 1] and rates [R, 1, {}], got {} and {}",
        h.rows(), h.cols(), times.shape.text(), rates.shape.text());
  return graph.add(std::make_unique<ExponentialWindow>(h, times, rates, shift))[0];
}

}  // namespace recallbench
