#include "kernels/rotary/rotary.h"

#include "kernels/graph/execution.h"
#include "kernels/rotary/rotary_cpu.h"
#include "kernels/rotary/rotary_cuda.h"

namespace recallbench {
namespace {

class Rotary : public TypedOperation<Rotary> {
 public:
  Rotary(const Tensor& x, Index heads, double base)
      : base_(base), table_(rotary_table(x.shape[2], x.cols() / heads, base)) {
    reads(x, InBackward::unused);
    writes(x.shape, InBackward::unused);
  }
  std::string_view name() const override { return "rotary"; }

  template <class T>
  void forward_as(Execution& e) {
    rotary_cpu(table_, e.input<T>(0), false, Gradient<T>{e.output<T>(0), true, false});
  }
  /// The transpose of a turn is the turn back.
  template <class T>
  void backward_as(Execution& e) {
    rotary_cpu(table_, e.output_gradient<T>(0), true, e.input_gradient<T>(0));
  }

  void forward_cuda(Execution& e) {
    turn(e, e.input<float>(0), false, Gradient<float>{e.output<float>(0), true, false});
  }
  void backward_cuda(Execution& e) {
    turn(e, e.output_gradient<float>(0), true, e.input_gradient<float>(0));
  }

 private:
  void turn(Execution& e, const Batched<float>& x, bool back, const Gradient<float>& to) const {
    rotary_cuda(e.cuda(), table_.length, table_.pairs, base_, x, back, to);
  }

  double base_;
  RotaryTable table_;
};

}  // namespace

Tensor rotary(Graph& graph, const Tensor& x, Index heads, double base) {
  check(x.shape.rank() == 4 && heads >= 1 && x.cols() % (2 * heads) == 0, "rotary",
        "expected x [R, B, L, {} heads of an even number of columns], got {}", heads,
        x.shape.text());
  check(base > 0, "rotary", "expected a base above 0, got {}", base);
  return graph.add(std::make_unique<Rotary>(x, heads, base))[0];
}

}  // namespace recallbench
