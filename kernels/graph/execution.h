#pragma once

#include "kernels/cuda/branch.h"
#include "kernels/graph/graph.h"

namespace recallbench {

/// What an operation sees while it runs: its memory by number, and the batch.
class Execution {
 public:
  Execution(Graph& graph, Graph::Node& node, bool backward)
      : graph_(graph), node_(node), backward_(backward) {}

  DType type() const { return graph_.type(); }
  Device device() const { return graph_.device(); }
  Index replicas() const { return graph_.replicas(); }
  const Batch& batch() const { return graph_.batch_; }

  template <class T>
  Batched<T> input(int k) const {
    return graph_.value<T>(use(k));
  }
  template <class T>
  Batched<T> output(int k) const {
    return graph_.value<T>(node_.outputs[static_cast<std::size_t>(k)]);
  }
  template <class T>
  Batched<T> output_gradient(int k) const {
    return graph_.gradient<T>(node_.outputs[static_cast<std::size_t>(k)]);
  }
  template <class T>
  Gradient<T> input_gradient(int k) const {
    const Graph::GradientWrite& write = node_.writes[static_cast<std::size_t>(k)];
    if (!write.wanted) return {};
    if (write.apart) return {graph_.view<T>(use(k), write.memory), true, false, false};
    return {graph_.gradient<T>(use(k)), true, write.accumulate, write.late};
  }
  /// What every CUDA kernel is given besides its tensors.
  CudaCall cuda() const {
    return {cuda_stream(), graph_.precision(), batch().device_step, batch().device_seeds,
            backward_ && node_.late_sums ? &graph_.late_sums_ : nullptr};
  }
  /// The same for work that comes after all so far and runs beside all that follows: see
  /// Operation::works_beside.
  CudaCall beside() const {
    graph_.beside_ = true;
    return cuda_fork(cuda(), Branch::pass);
  }
  template <class T>
  T* scratch() const {
    return reinterpret_cast<T*>(node_.scratch[backward_ ? 1 : 0]);
  }
  /// That of forward, in backward: of an operation that works beside.
  template <class T>
  T* forward_scratch() const {
    return reinterpret_cast<T*>(node_.scratch[0]);
  }

 private:
  const Tensor& use(int k) const {
    return node_.operation->inputs()[static_cast<std::size_t>(k)].tensor;
  }

  Graph& graph_;
  Graph::Node& node_;
  bool backward_;
};

/// Runs an operation on the graph's device and in its element type: `Op::forward_as<T>` and
/// `backward_as<T>`, templates over float and double, on the CPU; `Op::forward_cuda` and
/// `backward_cuda`, in float, on a GPU. The latter two are defined in the class, so that a build
/// without CUDA, which never calls them, needs nothing that they call.
template <class Op>
class TypedOperation : public Operation {
 public:
  bool has_cuda() const override { return kHasCuda<Op>; }
  void forward(Execution& e) override {
    if (e.device() == Device::cuda) return on_cuda(e, false);
    e.type() == DType::f32 ? self().template forward_as<float>(e)
                           : self().template forward_as<double>(e);
  }
  void backward(Execution& e) override {
    if (e.device() == Device::cuda) return on_cuda(e, true);
    e.type() == DType::f32 ? self().template backward_as<float>(e)
                           : self().template backward_as<double>(e);
  }

 private:
  template <class Operation>
  static constexpr bool kHasCuda = kCudaBuild&& requires(Operation& op, Execution& e) {
    op.forward_cuda(e);
    op.backward_cuda(e);
  };

  Op& self() { return static_cast<Op&>(*this); }

  void on_cuda([[maybe_unused]] Execution& e, [[maybe_unused]] bool backward) {
    if constexpr (kHasCuda<Op>) backward ? self().backward_cuda(e) : self().forward_cuda(e);
  }
};

}  // namespace recallbench
