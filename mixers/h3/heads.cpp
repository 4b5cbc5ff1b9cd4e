#include "mixers/h3/heads.h"

#include "kernels/graph/execution.h"
#include "mixers/h3/heads_cpu.h"
#include "mixers/h3/heads_cuda.h"

namespace recallbench {
namespace {

class HeadOuter : public TypedOperation<HeadOuter> {
 public:
  HeadOuter(const Tensor& k, const Tensor& v, Index head_dim) : head_dim_(head_dim) {
    reads(k, InBackward::read);
    reads(v, InBackward::read);
    writes(k.shape.with_cols(k.cols() * head_dim), InBackward::unused);
  }
  std::string_view name() const override { return "head_outer"; }

  template <class T>
  void forward_as(Execution& e) {
    head_outer_cpu(e.input<T>(0), e.input<T>(1), head_dim_, e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    head_outer_backward_cpu(e.input<T>(0), e.input<T>(1), e.output_gradient<T>(0), head_dim_,
                            e.input_gradient<T>(0), e.input_gradient<T>(1));
  }

  void forward_cuda(Execution& e) {
    head_outer_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), head_dim_, e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    head_outer_backward_cuda(e.cuda(), e.input<float>(0), e.input<float>(1),
                             e.output_gradient<float>(0), head_dim_, e.input_gradient<float>(0),
                             e.input_gradient<float>(1));
  }

 private:
  Index head_dim_;
};

class HeadInner : public TypedOperation<HeadInner> {
 public:
  HeadInner(const Tensor& q, const Tensor& p, Index head_dim) : head_dim_(head_dim) {
    reads(q, InBackward::read);
    reads(p, InBackward::read);
    writes(q.shape, InBackward::unused);
  }
  std::string_view name() const override { return "head_inner"; }

  template <class T>
  void forward_as(Execution& e) {
    head_inner_cpu(e.input<T>(0), e.input<T>(1), head_dim_, e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    head_inner_backward_cpu(e.input<T>(0), e.input<T>(1), e.output_gradient<T>(0), head_dim_,
                            e.input_gradient<T>(0), e.input_gradient<T>(1));
  }

  void forward_cuda(Execution& e) {
    head_inner_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), head_dim_, e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    head_inner_backward_cuda(e.cuda(), e.input<float>(0), e.input<float>(1),
                             e.output_gradient<float>(0), head_dim_, e.input_gradient<float>(0),
                             e.input_gradient<float>(1));
  }

 private:
  Index head_dim_;
};

}  // namespace

Tensor head_outer(Graph& graph, const Tensor& k, const Tensor& v, Index head_dim) {
  check(k.shape == v.shape && head_dim >= 1 && k.cols() % head_dim == 0, "head_outer",
        "expected k and v of one shape whose columns {} divides, got {} and {}", head_dim,
        k.shape.text(), v.shape.text());
  return graph.add(std::make_unique<HeadOuter>(k, v, head_dim))[0];
}

Tensor head_inner(Graph& graph, const Tensor& q, const Tensor& p, Index head_dim) {
  check(head_dim >= 1 && q.cols() % head_dim == 0 &&
            p.shape == q.shape.with_cols(q.cols() * head_dim),
        "head_inner",
        "expected q whose columns {} divides and p as many times as wide, got {} and {}", head_dim,
        q.shape.text(), p.shape.text());
  return graph.add(std::make_unique<HeadInner>(q, p, head_dim))[0];
}

}  // namespace recallbench
