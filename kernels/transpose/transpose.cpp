#include "kernels/transpose/transpose.h"

#include "kernels/graph/execution.h"
#include "kernels/transpose/transpose_cuda.h"

namespace recallbench {
namespace {

class TransposeOperation : public TypedOperation<TransposeOperation> {
 public:
  explicit TransposeOperation(const Tensor& x) {
    reads(x, InBackward::unused);
    writes(Shape{x.shape[0], x.cols(), x.rows()}, InBackward::unused);
  }
  std::string_view name() const override { return "transpose"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r)
      copy(e.input<T>(0).replica(r), e.output<T>(0).replica(r), false);
  }
  template <class T>
  void backward_as(Execution& e) {
    const Gradient<T> dx = e.input_gradient<T>(0);
    for (Index r = 0; r < e.replicas(); ++r)
      copy(e.output_gradient<T>(0).replica(r), dx.view.replica(r), dx.accumulate);
  }

  void forward_cuda(Execution& e) {
    transpose_cuda(e.cuda(), e.input<float>(0), {e.output<float>(0), true});
  }
  void backward_cuda(Execution& e) {
    transpose_cuda(e.cuda(), e.output_gradient<float>(0), e.input_gradient<float>(0));
  }

 private:
  template <class T>
  static void copy(const Matrix<T>& from, const Matrix<T>& to, bool accumulate) {
    for (Index i = 0; i < from.rows; ++i)
      for (Index j = 0; j < from.cols; ++j)
        to.row(j)[i] = accumulate ? to.row(j)[i] + from.row(i)[j] : from.row(i)[j];
  }
};

}  // namespace

Tensor transpose(Graph& graph, const Tensor& x) {
  check(x.shape.rank() == 3, "transpose", "expected [R, a, b], got {}", x.shape.text());
  return graph.add(std::make_unique<TransposeOperation>(x))[0];
}

}  // namespace recallbench
