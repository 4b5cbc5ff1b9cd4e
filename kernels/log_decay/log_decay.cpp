#include "kernels/log_decay/log_decay.h"

#include "kernels/graph/execution.h"
#include "kernels/log_decay/log_decay_cpu.h"
#include "kernels/log_decay/log_decay_cuda.h"

namespace recallbench {
namespace {

class LogDecay : public TypedOperation<LogDecay> {
 public:
  LogDecay(const Tensor& dt, const Tensor& a_log, Device device) {
    reads(dt, InBackward::unused);
    reads(a_log, InBackward::read);
    writes(dt.shape, InBackward::read);
    needs_scratch(0, log_decay_scratch(dt.rows(), dt.cols()));
    if constexpr (kCudaBuild)
      if (device == Device::cuda)
        needs_scratch(0, log_decay_cuda_scratch(dt.shape.replicas(), dt.rows(), dt.cols()));
  }
  std::string_view name() const override { return "log_decay"; }

  template <class T>
  void forward_as(Execution& e) {
    log_decay_forward_cpu(e.input<T>(0), e.input<T>(1), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    log_decay_backward_cpu(e.input<T>(1), e.output<T>(0), e.output_gradient<T>(0),
                           e.input_gradient<T>(0), e.input_gradient<T>(1), e.scratch<T>());
  }

  void forward_cuda(Execution& e) {
    log_decay_forward_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    log_decay_backward_cuda(e.cuda(), e.input<float>(1), e.output<float>(0),
                            e.output_gradient<float>(0), e.input_gradient<float>(0),
                            e.input_gradient<float>(1), e.scratch<float>());
  }
};

}  // namespace

Tensor log_decay(Graph& graph, const Tensor& dt, const Tensor& a_log) {
  check(a_log.rows() == 1 && a_log.cols() == dt.cols(), "log_decay",
        "expected a_log [R, 1, {}] for dt {}, got {}", dt.cols(), dt.shape.text(),
        a_log.shape.text());
  return graph.add(std::make_unique<LogDecay>(dt, a_log, graph.device()))[0];
}

}  // namespace recallbench
