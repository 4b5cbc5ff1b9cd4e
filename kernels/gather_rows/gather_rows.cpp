#include "kernels/gather_rows/gather_rows.h"

#include <algorithm>

#include "kernels/gather_rows/gather_rows_cuda.h"
#include "kernels/graph/execution.h"
#include "kernels/tensor/parallel.h"

namespace recallbench {
namespace {

class GatherRows : public TypedOperation<GatherRows> {
 public:
  GatherRows(const Tensor& x, Index labels)
      : examples_(x.shape[1]), length_(x.shape[2]), labels_(labels) {
    reads(x, InBackward::unused);
    writes(Shape{x.shape[0], examples_, labels, x.cols()}, InBackward::unused);
  }
  std::string_view name() const override { return "gather_rows"; }

  template <class T>
  void forward_as(Execution& e) {
    check_labels(e);
    for (Index r = 0; r < e.replicas(); ++r) {
      const Matrix<T> x = e.input<T>(0).replica(r), y = e.output<T>(0).replica(r);
      for (Index i = 0; i < y.rows; ++i)
        std::copy_n(x.row(source(e, r, i)), y.cols, y.row(i));
    }
  }

  template <class T>
  void backward_as(Execution& e) {
    const Gradient<T> dx = e.input_gradient<T>(0);
    for (Index r = 0; r < e.replicas(); ++r) {
      const Matrix<T> to = dx.view.replica(r), dy = e.output_gradient<T>(0).replica(r);
      parallel_for(examples_, [&](Index example) {
        if (!dx.accumulate)
          for (Index t = 0; t < length_; ++t)
            std::fill_n(to.row(example * length_ + t), to.cols, T(0));
        for (Index i = example * labels_; i < (example + 1) * labels_; ++i) {
          T* row = to.row(source(e, r, i));
          for (Index j = 0; j < to.cols; ++j)
            row[j] += dy.row(i)[j];
        }
      });
    }
  }

  void forward_cuda(Execution& e) {
    check_labels(e);
    gather_rows_cuda(e.cuda(), e.batch().positions, length_, labels_, e.input<float>(0),
                     e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    gather_rows_backward_cuda(e.cuda(), e.batch().positions, length_, labels_,
                              e.output_gradient<float>(0), e.input_gradient<float>(0));
  }

 private:
  void check_labels(const Execution& e) const {
    check(e.batch().labels == labels_, "gather_rows", "recorded for {} labels, the batch has {}",
          labels_, e.batch().labels);
  }

  /// Row of x that row i of y is.
  Index source(const Execution& e, Index replica, Index i) const {
    return i / labels_ * length_ + e.batch().positions[replica * examples_ * labels_ + i];
  }

  Index examples_, length_, labels_;
};

}  // namespace

Tensor gather_rows(Graph& graph, const Tensor& x, Index labels) {
  check(x.shape.rank() == 4 && labels >= 1, "gather_rows",
        "expected x [R, B, L, D] and at least 1 label, got {} and {}", x.shape.text(), labels);
  return graph.add(std::make_unique<GatherRows>(x, labels))[0];
}

}  // namespace recallbench
