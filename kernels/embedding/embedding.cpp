#include "kernels/embedding/embedding.h"

#include <algorithm>

#include "kernels/elementwise/elementwise_cpu.h"
#include "kernels/elementwise/elementwise_cuda.h"
#include "kernels/embedding/embedding_cpu.h"
#include "kernels/embedding/embedding_cuda.h"
#include "kernels/graph/execution.h"

namespace recallbench {
namespace {

class Embedding : public TypedOperation<Embedding> {
 public:
  Embedding(const Tensor& table, Index examples, Index length, Device device) {
    reads(table, InBackward::unused);
    writes(Shape{table.shape[0], examples, length, table.cols()}, InBackward::unused);
    if constexpr (kCudaBuild)
      if (device == Device::cuda) {
        const Index replicas = table.shape[0], rows = examples * length;
        needs_scratch(token_sort_cuda_numbers(replicas, rows, table.rows()),
                      embedding_cuda_scratch(replicas, rows, table.cols()));
        works_beside({}, {});
      }
  }
  std::string_view name() const override { return "embedding"; }

  template <class T>
  void forward_as(Execution& e) {
    check_tokens("embedding", e.batch(), e.output<T>(0).rows);
    embedding_cpu(e.batch().tokens, e.input<T>(0), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    embedding_backward_cpu(e.batch().tokens, e.output_gradient<T>(0), e.input_gradient<T>(0));
  }

  void forward_cuda(Execution& e) {
    check_tokens("embedding", e.batch(), e.output<float>(0).rows);
    if (e.input_gradient<float>(0).wanted)
      sort_tokens_cuda(e.beside(), e.batch().tokens, e.replicas(), e.output<float>(0).rows,
                       e.input<float>(0).rows, e.scratch<float>());
    embedding_cuda(e.cuda(), e.batch().tokens, e.input<float>(0), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    embedding_backward_cuda(e.cuda(), e.forward_scratch<float>(), e.output_gradient<float>(0),
                            e.input_gradient<float>(0), e.scratch<float>());
  }
};

class AddPositions : public TypedOperation<AddPositions> {
 public:
  AddPositions(const Tensor& x, const Tensor& table) : length_(x.shape[2]) {
    reads(x, InBackward::unused);
    reads(table, InBackward::unused);
    writes(x.shape, InBackward::unused);
    may_reuse_input(0);
  }
  std::string_view name() const override { return "add_positions"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r) {
      const Matrix<T> x = e.input<T>(0).replica(r), table = e.input<T>(1).replica(r),
                      y = e.output<T>(0).replica(r);
      for (Index i = 0; i < x.rows; ++i)
        for (Index j = 0; j < x.cols; ++j)
          y.row(i)[j] = x.row(i)[j] + table.row(i % length_)[j];
    }
  }

  template <class T>
  void backward_as(Execution& e) {
    copy_cpu(e.output_gradient<T>(0), e.input_gradient<T>(0));
    const Gradient<T> d = e.input_gradient<T>(1);
    if (!d.wanted) return;
    for (Index r = 0; r < e.replicas(); ++r) {
      const Matrix<T> to = d.view.replica(r), dy = e.output_gradient<T>(0).replica(r);
      if (!d.accumulate)
        for (Index p = 0; p < to.rows; ++p)
          std::fill_n(to.row(p), to.cols, T(0));
      for (Index i = 0; i < dy.rows; ++i)
        for (Index j = 0; j < dy.cols; ++j)
          to.row(i % length_)[j] += dy.row(i)[j];
    }
  }

  void forward_cuda(Execution& e) {
    add_positions_cuda(e.cuda(), length_, e.input<float>(0), e.input<float>(1), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    copy_cuda(e.cuda(), e.output_gradient<float>(0), e.input_gradient<float>(0));
    add_positions_table_backward_cuda(e.cuda(), length_, e.output_gradient<float>(0),
                                      e.input_gradient<float>(1));
  }

 private:
  Index length_;
};

}  // namespace

Tensor embedding(Graph& graph, const Tensor& table, Index examples, Index length) {
  check(table.shape.rank() == 3, "embedding", "expected a table [R, V, D], got {}",
        table.shape.text());
  return graph.add(std::make_unique<Embedding>(table, examples, length, graph.device()))[0];
}

Tensor add_positions(Graph& graph, const Tensor& x, const Tensor& table) {
  check(x.shape.rank() == 4 && table.cols() == x.cols() && table.rows() >= x.shape[2],
        "add_positions", "expected x [R, B, L, D] and a table [R, P >= L, D], got {} and {}",
        x.shape.text(), table.shape.text());
  return graph.add(std::make_unique<AddPositions>(x, table))[0];
}

}  // namespace recallbench
