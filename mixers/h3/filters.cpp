#include "mixers/h3/filters.h"

#include "kernels/graph/execution.h"
#include "mixers/h3/filters_cpu.h"
#include "mixers/h3/filters_cuda.h"

namespace recallbench {
namespace {

class ShiftSsmFilter : public TypedOperation<ShiftSsmFilter> {
 public:
  ShiftSsmFilter(const Tensor& b, const Tensor& c, const Tensor& d, Index taps) {
    reads(b, InBackward::read);
    reads(c, InBackward::read);
    reads(d, InBackward::unused);
    writes({b.shape.replicas(), taps, b.rows()}, InBackward::unused);
  }
  std::string_view name() const override { return "shift_ssm_filter"; }

  template <class T>
  void forward_as(Execution& e) {
    shift_ssm_filter_cpu(e.input<T>(0), e.input<T>(1), e.input<T>(2), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    shift_ssm_filter_backward_cpu(e.input<T>(0), e.input<T>(1), e.output_gradient<T>(0),
                                  e.input_gradient<T>(0), e.input_gradient<T>(1),
                                  e.input_gradient<T>(2));
  }

  void forward_cuda(Execution& e) {
    shift_ssm_filter_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), e.input<float>(2),
                          e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    shift_ssm_filter_backward_cuda(e.cuda(), e.input<float>(0), e.input<float>(1),
                                   e.output_gradient<float>(0), e.input_gradient<float>(0),
                                   e.input_gradient<float>(1), e.input_gradient<float>(2));
  }
};

class DiagonalSsmFilter : public TypedOperation<DiagonalSsmFilter> {
 public:
  DiagonalSsmFilter(const DiagonalSsm& s, Index taps, Index copies) {
    for (const Tensor& tensor : {s.c, s.b, s.log_decay, s.frequency, s.log_dt})
      reads(tensor, InBackward::read);
    reads(s.d, InBackward::unused);
    writes({s.d.shape.replicas(), taps, copies * s.d.cols()}, InBackward::unused);
  }
  std::string_view name() const override { return "diagonal_ssm_filter"; }

  template <class T>
  void forward_as(Execution& e) {
    diagonal_ssm_filter_cpu(views<T>(e), e.input<T>(5), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    diagonal_ssm_filter_backward_cpu(views<T>(e), e.output_gradient<T>(0), gradients<T>(e));
  }

  void forward_cuda(Execution& e) {
    diagonal_ssm_filter_cuda(e.cuda(), views<float>(e), e.input<float>(5), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    diagonal_ssm_filter_backward_cuda(e.cuda(), views<float>(e), e.output_gradient<float>(0),
                                      gradients<float>(e));
  }

 private:
  template <class T>
  DiagonalSsmGradients<T> gradients(Execution& e) const {
    return {e.input_gradient<T>(0), e.input_gradient<T>(1), e.input_gradient<T>(2),
            e.input_gradient<T>(3), e.input_gradient<T>(4), e.input_gradient<T>(5)};
  }
  template <class T>
  DiagonalSsmViews<T> views(Execution& e) const {
    return {e.input<T>(0), e.input<T>(1), e.input<T>(2), e.input<T>(3), e.input<T>(4)};
  }
};

}  // namespace

Tensor shift_ssm_filter(Graph& graph, const Tensor& b, const Tensor& c, const Tensor& d,
                        Index taps) {
  check(b.shape.rank() == 3 && c.shape == b.shape && d.rows() == 1 && d.cols() == b.rows() &&
            taps >= 1 && taps <= b.cols(),
        "shift_ssm_filter",
        "expected b and c [R, D, N], d [R, 1, D], at most N taps, got {}, {}, "
        "{} and {} taps",
        b.shape.text(), c.shape.text(), d.shape.text(), taps);
  return graph.add(std::make_unique<ShiftSsmFilter>(b, c, d, taps))[0];
}

Tensor diagonal_ssm_filter(Graph& graph, const DiagonalSsm& s, Index taps, Index copies) {
  const Index heads = s.d.cols(), modes = s.log_decay.cols();
  for (const Tensor& t : {s.log_decay, s.frequency})
    check(t.rows() == heads && t.cols() == modes, "diagonal_ssm_filter",
          "expected log_decay and frequency [R, {}, {}], got {}", heads, modes, t.shape.text());
  for (const Tensor& t : {s.c, s.b})
    check(t.rows() == heads * modes && t.cols() == 2, "diagonal_ssm_filter",
          "expected c and b [R, {}, 2], got {}", heads * modes, t.shape.text());
  check(s.log_dt.rows() == 1 && s.log_dt.cols() == heads && taps >= 1 && copies >= 1,
        "diagonal_ssm_filter", "expected log_dt [R, 1, {}], a tap and a copy, got {}, {} and {}",
        heads, s.log_dt.shape.text(), taps, copies);
  return graph.add(std::make_unique<DiagonalSsmFilter>(s, taps, copies))[0];
}

}  // namespace recallbench
