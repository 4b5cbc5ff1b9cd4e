#include "kernels/elementwise/elementwise.h"

#include "kernels/elementwise/elementwise_cpu.h"
#include "kernels/elementwise/elementwise_cuda.h"
#include "kernels/graph/execution.h"

namespace recallbench {
namespace {

class Add : public TypedOperation<Add> {
 public:
  Add(const Tensor& a, const Tensor& b) {
    reads(a, InBackward::unused);
    reads(b, InBackward::unused);
    writes(a.shape, InBackward::unused);
    may_reuse_input(0);
  }
  std::string_view name() const override { return "add"; }

  template <class T>
  void forward_as(Execution& e) {
    add_cpu(e.input<T>(0), e.input<T>(1), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    for (const int k : {0, 1})
      copy_cpu(e.output_gradient<T>(0), e.input_gradient<T>(k));
  }

  void forward_cuda(Execution& e) {
    add_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    for (const int k : {0, 1})
      copy_cuda(e.cuda(), e.output_gradient<float>(0), e.input_gradient<float>(k));
  }
};

class Multiply : public TypedOperation<Multiply> {
 public:
  Multiply(const Tensor& a, const Tensor& b) {
    reads(a, InBackward::read);
    reads(b, InBackward::read);
    writes(a.shape, InBackward::unused);
    may_reuse_input(0);
  }
  std::string_view name() const override { return "multiply"; }

  template <class T>
  void forward_as(Execution& e) {
    multiply_cpu(e.input<T>(0), e.input<T>(1), e.output<T>(0), false);
  }
  template <class T>
  void backward_as(Execution& e) {
    for (const int k : {0, 1}) {
      const Gradient<T> d = e.input_gradient<T>(k);
      if (d.wanted) multiply_cpu(e.output_gradient<T>(0), e.input<T>(1 - k), d.view, d.accumulate);
    }
  }

  void forward_cuda(Execution& e) {
    multiply_cuda(e.cuda(), e.input<float>(0), e.input<float>(1), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    multiply_backward_cuda(e.cuda(), e.input<float>(0), e.input<float>(1),
                           e.output_gradient<float>(0), e.input_gradient<float>(0),
                           e.input_gradient<float>(1));
  }
};

class Activate : public TypedOperation<Activate> {
 public:
  Activate(Activation f, const Tensor& x) : f_(f) {
    reads(x, InBackward::read);
    writes(x.shape, InBackward::unused);
    may_reuse_input(0);
  }
  std::string_view name() const override { return "activate"; }

  template <class T>
  void forward_as(Execution& e) {
    activate_cpu(f_, e.input<T>(0), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    activate_backward_cpu(f_, e.input<T>(0), e.output_gradient<T>(0), e.input_gradient<T>(0));
  }

  void forward_cuda(Execution& e) {
    activate_cuda(e.cuda(), f_, e.input<float>(0), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    activate_backward_cuda(e.cuda(), f_, e.input<float>(0), e.output_gradient<float>(0),
                           e.input_gradient<float>(0));
  }

 private:
  Activation f_;
};

class Gate : public TypedOperation<Gate> {
 public:
  Gate(const Tensor& y, Activation f, const Tensor& z) : f_(f) {
    reads(y, InBackward::read);
    reads(z, InBackward::read);
    writes(y.shape, InBackward::unused);
    may_reuse_input(0);
  }
  std::string_view name() const override { return "gate"; }

  template <class T>
  void forward_as(Execution& e) {
    gate_cpu(f_, e.input<T>(0), e.input<T>(1), e.output<T>(0));
  }
  template <class T>
  void backward_as(Execution& e) {
    gate_backward_cpu(f_, e.input<T>(0), e.input<T>(1), e.output_gradient<T>(0),
                      e.input_gradient<T>(0), e.input_gradient<T>(1));
  }

  void forward_cuda(Execution& e) {
    gate_cuda(e.cuda(), f_, e.input<float>(0), e.input<float>(1), e.output<float>(0));
  }
  void backward_cuda(Execution& e) {
    gate_backward_cuda(e.cuda(), f_, e.input<float>(0), e.input<float>(1),
                       e.output_gradient<float>(0), e.input_gradient<float>(0),
                       e.input_gradient<float>(1));
  }

 private:
  Activation f_;
};

void check_same(const char* who, const Tensor& a, const Tensor& b) {
  check(a.shape == b.shape, who, "expected two tensors of one shape, got {} and {}", a.shape.text(),
        b.shape.text());
}

}  // namespace

Tensor add(Graph& graph, const Tensor& a, const Tensor& b) {
  check_same("add", a, b);
  return graph.add(std::make_unique<Add>(a, b))[0];
}

Tensor multiply(Graph& graph, const Tensor& a, const Tensor& b) {
  check_same("multiply", a, b);
  return graph.add(std::make_unique<Multiply>(a, b))[0];
}

Tensor gate(Graph& graph, const Tensor& y, Activation f, const Tensor& z) {
  check_same("gate", y, z);
  return graph.add(std::make_unique<Gate>(y, f, z))[0];
}

Tensor activate(Graph& graph, Activation f, const Tensor& x) {
  return graph.add(std::make_unique<Activate>(f, x))[0];
}

}  // namespace recallbench
