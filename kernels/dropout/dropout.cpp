#include "kernels/dropout/dropout.h"

#include "kernels/dropout/dropout_cpu.h"
#include "kernels/dropout/dropout_cuda.h"
#include "kernels/graph/execution.h"

namespace recallbench {
namespace {

class Dropout : public TypedOperation<Dropout> {
 public:
  Dropout(const Tensor& x, double p, std::uint32_t random_id) : p_(p), random_id_(random_id) {
    reads(x, InBackward::unused);
    writes(x.shape, InBackward::unused);
    may_reuse_input(0);
  }
  std::string_view name() const override { return "dropout"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      dropout_cpu(mask(e, r), e.input<T>(0).replica(r), e.output<T>(0).replica(r), false);
  }
  template <class T>
  void backward_as(Execution& e) {
    const Gradient<T> dx = e.input_gradient<T>(0);
    for (Index r = 0; r < e.replicas(); ++r)
      dropout_cpu(mask(e, r), e.output_gradient<T>(0).replica(r), dx.view.replica(r),
                  dx.accumulate);
  }

  void forward_cuda(Execution& e) {
    dropout_cuda(e.cuda(), random_id_, p_, e.input<float>(0), {e.output<float>(0), true});
  }
  void backward_cuda(Execution& e) {
    dropout_cuda(e.cuda(), random_id_, p_, e.output_gradient<float>(0), e.input_gradient<float>(0));
  }

 private:
  DropoutMask mask(const Execution& e, Index replica) const {
    return {e.batch().seeds[static_cast<std::size_t>(replica)], e.batch().step, random_id_, p_};
  }

  double p_;
  std::uint32_t random_id_;
};

}  // namespace

Tensor dropout(Graph& graph, const Tensor& x, double p) {
  check(p >= 0 && p < 1, "dropout", "expected a probability in [0, 1), got {}", p);
  if (!graph.drops() || p == 0) return x;
  return graph.add(std::make_unique<Dropout>(x, p, graph.next_random_id()))[0];
}

}  // namespace recallbench
