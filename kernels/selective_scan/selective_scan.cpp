#include "kernels/selective_scan/selective_scan.h"

#include "kernels/graph/execution.h"
#include "kernels/selective_scan/selective_scan_cpu.h"
#include "kernels/selective_scan/selective_scan_cuda.h"

namespace recallbench {
namespace {

class SelectiveScan : public TypedOperation<SelectiveScan> {
 public:
  SelectiveScan(const SelectiveScanInputs& in, bool training, Device device)
      : size_{in.x.shape[1], in.x.shape[2], in.x.cols(), in.a_log.cols()} {
    for (const Tensor& tensor : {in.x, in.dt, in.a_log, in.b, in.c, in.d})
      reads(tensor, InBackward::read);
    writes(in.x.shape, InBackward::unused);
    keeps_states_ = training && scan_checkpoints(size_) > 0;
    if (keeps_states_)
      saves(Shape{in.x.shape.replicas(), size_.examples, scan_checkpoints(size_),
                  scan_state_numbers(size_)});
    needs_scratch(scan_forward_scratch(size_), scan_backward_scratch(size_));
    if constexpr (kCudaBuild)
      if (device == Device::cuda) needs_scratch(0, scan_cuda_scratch(in.x.shape.replicas(), size_));
  }
  std::string_view name() const override { return "selective_scan"; }

  template <class T>
  void forward_as(Execution& e) {
    selective_scan_forward_cpu(size_, views<T>(e), e.output<T>(0), states<T>(e), e.scratch<T>());
  }
  template <class T>
  void backward_as(Execution& e) {
    selective_scan_backward_cpu(size_, views<T>(e), states<T>(e), e.output_gradient<T>(0),
                                gradients<T>(e), e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    selective_scan_forward_cuda(e.cuda(), size_, views<float>(e), e.output<float>(0),
                                states<float>(e));
  }
  void backward_cuda(Execution& e) {
    selective_scan_backward_cuda(e.cuda(), size_, views<float>(e), states<float>(e),
                                 e.output_gradient<float>(0), gradients<float>(e),
                                 e.scratch<float>());
  }

 private:
  template <class T>
  ScanGradients<T> gradients(Execution& e) const {
    return {e.input_gradient<T>(0), e.input_gradient<T>(1), e.input_gradient<T>(2),
            e.input_gradient<T>(3), e.input_gradient<T>(4), e.input_gradient<T>(5)};
  }
  template <class T>
  ScanViews<T> views(Execution& e) const {
    return {e.input<T>(0), e.input<T>(1), e.input<T>(2),
            e.input<T>(3), e.input<T>(4), e.input<T>(5)};
  }
  template <class T>
  Batched<T> states(Execution& e) const {
    return keeps_states_ ? e.output<T>(1) : Batched<T>{};
  }

  ScanSize size_;
  bool keeps_states_ = false;
};

}  // namespace

Tensor selective_scan(Graph& graph, const SelectiveScanInputs& in) {
  check(in.x.shape.rank() == 4 && in.dt.shape == in.x.shape, "selective_scan",
        "expected x and dt [R, B, L, C], got {} and {}", in.x.shape.text(), in.dt.shape.text());
  check(in.a_log.shape.rank() == 3 && in.a_log.rows() == in.x.cols(), "selective_scan",
        "expected a_log [R, {}, N] for x {}, got {}", in.x.cols(), in.x.shape.text(),
        in.a_log.shape.text());
  const Shape token = in.x.shape.with_cols(in.a_log.cols());
  check(in.b.shape == token && in.c.shape == token, "selective_scan",
        "expected b and c {}, got {} and {}", token.text(), in.b.shape.text(), in.c.shape.text());
  check(in.d.rows() == 1 && in.d.cols() == in.x.cols(), "selective_scan",
        "expected d [R, 1, {}], got {}", in.x.cols(), in.d.shape.text());
  return graph.add(std::make_unique<SelectiveScan>(in, graph.training(), graph.device()))[0];
}

}  // namespace recallbench
