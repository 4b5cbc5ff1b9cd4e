#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/cuda/partial_sums.h"
#include "kernels/graph/batch.h"
#include "kernels/graph/operation.h"
#include "kernels/graph/parameters.h"
#include "kernels/tensor/arena.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Thrown where a graph on a GPU has an operation that cannot run there: its text names it.
class NoCudaCode : public Error {
 public:
  using Error::Error;
};

/// Defined once, replayed many times. Record operations (each is a function that takes the Graph
/// and returns Tensors), name what to read afterwards (`keep`) and where the backward walk begins
/// (`set_root`), `finish`, then call `forward` and `backward` for batch after batch: neither
/// allocates. Borrows the Parameters, whose values it reads and whose gradients it writes, and an
/// Arena that other graphs may use in between.
class Graph {
 public:
  /// `training` graphs have a backward walk and dropout; others have neither.
  Graph(Parameters& parameters, bool training);

  DType type() const { return parameters_.type(); }
  Index replicas() const { return parameters_.replicas(); }
  Device device() const { return parameters_.device(); }
  bool training() const { return training_; }
  /// Of matrix products on a GPU; fp32 at first.
  void set_precision(Precision precision) { precision_ = precision; }
  Precision precision() const { return precision_; }
  /// Off: a training graph without dropout, for given weights and gradient checks. On at first.
  void set_dropout(bool on) { dropout_ = on; }
  bool drops() const { return training_ && dropout_; }

  // -- recording ------------------------------------------------------------------------------
  /// [R, rows, cols] of the declared shape.
  Tensor parameter(Parameter p);
  /// A value that the caller writes (`write`) before `forward`.
  Tensor input(const Shape& shape, bool wants_gradient);
  /// Records an operation; returns its outputs.
  std::vector<Tensor> add(std::unique_ptr<Operation> operation);
  /// A number for each random operation of the graph: part of its Philox counter.
  std::uint32_t next_random_id() { return random_ids_++; }
  /// The value may be read after a replay; the gradient, too, of roots, inputs and parameters.
  void keep(const Tensor& tensor);
  /// Backward begins here, with the gradient that the caller writes (`write_gradient`) after
  /// `forward`, one at first; that of a loss that writes its gradients in forward is always one.
  /// There may be several roots, all different and read by no operation.
  void set_root(const Tensor& tensor);
  /// Ends recording: plans the memory in `arena` and reserves it. Throws NoCudaCode.
  void finish(Arena& arena);

  // -- replay ---------------------------------------------------------------------------------
  // On a GPU both only enqueue, and can be captured together (kernels/cuda/captured.h).
  void forward(const Batch& batch);
  /// After `forward` of a training graph with a root: gradients of all parameters in use.
  void backward();

  /// One replica's numbers on the host, row after row: of a kept tensor, an input or a parameter;
  /// the gradient of a root, or of an input or parameter that wants one.
  std::vector<double> read(const Tensor& tensor, Index replica) const;
  std::vector<double> read_gradient(const Tensor& tensor, Index replica) const;
  /// Of an input or a parameter; of a root.
  void write(const Tensor& tensor, Index replica, std::span<const double> numbers);
  void write_gradient(const Tensor& tensor, Index replica, std::span<const double> numbers);

  /// Views of the device's memory.
  template <class T>
  Batched<T> value(const Tensor& tensor) const {
    return view<T>(tensor, values_[static_cast<std::size_t>(tensor.value)].data);
  }
  template <class T>
  Batched<T> gradient(const Tensor& tensor) const {
    return view<T>(tensor, values_[static_cast<std::size_t>(tensor.value)].gradient);
  }

  /// Whether the backward walk writes this parameter's gradient.
  bool uses(Parameter p) const;
  /// Those for which it does, in the order in which they were declared.
  std::vector<Parameter> used_parameters() const;
  /// A line an operation: name, outputs, whether it joins what runs beside; for people and tests.
  std::string text() const;
  /// Seconds spent in each operation since the last call, forward and backward; counted only
  /// while profiling is on.
  struct Profile {
    std::string name;
    double forward_s, backward_s;
  };
  void set_profiling(bool on) { profiling_ = on; }
  std::vector<Profile> profile() const;

 private:
  friend class Execution;

  struct Value {
    Shape shape;
    Index replica_stride = 0;  // elements
    int parameter = -1;        // index, or -1
    bool external = false;     // memory of its own: parameters and inputs
    bool wants_gradient = false;
    bool kept = false;
    int piece = -1, gradient_piece = -1;  // of the memory plan
    std::byte* data = nullptr;
    std::byte* gradient = nullptr;
  };
  struct GradientWrite {
    bool wanted = false, accumulate = false, late = false;
    bool apart = false;  // shares numbers with an earlier input: made in `memory`, added afterwards
    int piece = -1;
    std::byte* memory = nullptr;  // laid out as the value
  };
  struct Node {
    std::unique_ptr<Operation> operation;
    std::vector<Tensor> outputs;
    bool backward = false;                 // has a backward step in this graph
    std::vector<GradientWrite> writes;     // one an input
    std::vector<int> zero_before;          // values whose gradient is zeroed before backward
    bool join_before[2] = {false, false};  // forward, backward: waits for what runs beside
    bool late_sums = false;                // its partial sums stay until the end of backward
    int scratch_piece[2] = {-1, -1};       // forward, backward
    std::byte* scratch[2] = {nullptr, nullptr};
    double seconds[2] = {0, 0};
  };

  template <class T>
  Batched<T> view(const Tensor& t, std::byte* data) const {
    const Value& v = values_[static_cast<std::size_t>(t.value)];
    return {reinterpret_cast<T*>(data) + t.offset,
            t.shape.replicas(),
            t.rows(),
            t.cols(),
            t.stride,
            v.replica_stride};
  }
  int new_value(const Shape& shape, bool wants_gradient);
  std::size_t value_bytes(const Value& value) const;
  int node_count() const { return static_cast<int>(nodes_.size()); }
  /// When a node's gradients are written: forward steps are 0 .. n-1, backward n .. 2n-1.
  int gradient_time(int node) const;
  /// When an operation is done with what it keeps for backward.
  int backward_time(int node) const;
  bool is_root(int value) const;
  void find_backward_nodes();
  void plan_gradient_writes();
  void plan_joins();
  void plan_value_memory(struct PlanBuilder& builder);
  void resolve_pointers();
  const Value& value_of(const char* who, const Tensor& tensor) const;
  void check_memory(const char* who, const Value& value, Index replica) const;
  std::byte* gradient_memory(const char* who, const Tensor& tensor, Index replica) const;
  std::vector<double> read_memory(const Tensor& tensor, Index replica, std::byte* data) const;
  void write_memory(const Tensor& tensor, Index replica, std::byte* data,
                    std::span<const double> numbers) const;
  void fill(std::byte* memory, int value, std::size_t bytes) const;
  void set_gradient(const Value& value, float to) const;
  void start_at_roots();
  void poison(const Node& node, bool backward);
  void add_gradients_apart(const Node& node) const;
  void run(Node& node, bool backward);
  void join_beside() const;
  void end_backward(Node& last);

  Parameters& parameters_;
  bool training_;
  Precision precision_ = Precision::fp32;
  bool dropout_ = true;
  bool finished_ = false;
  bool has_run_ = false;  ///< forward
  bool profiling_ = false;
  std::vector<Value> values_;
  std::vector<int> parameter_values_;
  std::vector<Node> nodes_;
  std::vector<std::unique_ptr<Arena>> inputs_;
  std::vector<Tensor> roots_;
  Batch batch_;
  std::uint32_t random_ids_ = 0;
  std::vector<PartialSums> late_sums_;
  mutable bool beside_ = false;  // work runs beside, on a GPU; whoever reads its results joins it
  Arena* arena_ = nullptr;
  std::byte* resolved_for_ = nullptr;
  std::vector<std::size_t> offsets_;  // of the plan's pieces
};

}  // namespace recallbench
