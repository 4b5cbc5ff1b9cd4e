#include "kernels/label_cross_entropy/label_cross_entropy.h"

#include "kernels/graph/execution.h"
#include "kernels/label_cross_entropy/label_cross_entropy_cpu.h"
#include "kernels/label_cross_entropy/label_cross_entropy_cuda.h"

namespace recallbench {
namespace {

class LabelCrossEntropyOperation : public TypedOperation<LabelCrossEntropyOperation> {
 public:
  LabelCrossEntropyOperation(const Tensor& h, const Tensor& table, Device device) {
    reads(h, InBackward::unused);
    reads(table, InBackward::unused);
    const Index replicas = h.shape[0];
    writes(Shape{replicas, 1, 1}, InBackward::unused);
    saves(Shape{replicas, h.rows(), 1});
    saves(Shape{replicas, h.rows(), 1});
    needs_scratch(label_cross_entropy_scratch(table.rows(), table.cols()), 0);
    if constexpr (kCudaBuild)
      if (device == Device::cuda) {
        needs_scratch(
            label_cross_entropy_cuda_scratch(replicas, h.rows(), table.rows(), table.cols()), 0);
        works_beside({1}, {0});
      }
  }
  std::string_view name() const override { return "label_cross_entropy"; }
  bool gradients_in_forward() const override { return true; }

  template <class T>
  void forward_as(Execution& e) {
    check_batch(e, e.input<T>(0).rows);
    for (Index r = 0; r < e.replicas(); ++r) {
      const Matrix<T> h = e.input<T>(0).replica(r);
      const Gradient<T> dh = e.input_gradient<T>(0), dtable = e.input_gradient<T>(1);
      label_cross_entropy_cpu<T>({h, e.input<T>(1).replica(r), e.batch().targets + r * h.rows,
                                  e.batch().weights + r * h.rows, e.output<T>(0).replica(r).data,
                                  e.output<T>(1).replica(r), e.output<T>(2).replica(r),
                                  dh.wanted || dtable.wanted, dh, dtable, r, e.scratch<T>()});
    }
  }
  template <class T>
  void backward_as(Execution&) {}  // forward has written the gradients

  void forward_cuda(Execution& e) {
    check_batch(e, e.input<float>(0).rows);
    const LabelCrossEntropyOnDevice head{e.input<float>(0),          e.input<float>(1),
                                         e.batch().targets,          e.batch().weights,
                                         e.output<float>(0),         e.output<float>(1),
                                         e.output<float>(2),         e.input_gradient<float>(0),
                                         e.input_gradient<float>(1), e.scratch<float>()};
    label_cross_entropy_rows_cuda(e.cuda(), head);
    label_cross_entropy_sums_cuda(head.dtable.wanted ? e.beside() : e.cuda(), head);
  }
  void backward_cuda(Execution&) {}

 private:
  static void check_batch(const Execution& e, Index rows) {
    check(e.batch().examples * e.batch().labels == rows, "label_cross_entropy",
          "recorded for {} labels, the batch has {} x {}", rows, e.batch().examples,
          e.batch().labels);
  }
};

}  // namespace

LabelCrossEntropy label_cross_entropy(Graph& graph, const Tensor& h, const Tensor& table) {
  check(h.shape.rank() == 4 && table.shape.rank() == 3 && h.cols() == table.cols(),
        "label_cross_entropy", "expected h [R, B, n, D] and a table [R, V, D], got {} and {}",
        h.shape.text(), table.shape.text());
  const auto out =
      graph.add(std::make_unique<LabelCrossEntropyOperation>(h, table, graph.device()));
  return {out[0], out[1], out[2]};
}

}  // namespace recallbench
