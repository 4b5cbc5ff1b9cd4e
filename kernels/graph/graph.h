#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/graph/batch.h"
#include "kernels/graph/operation.h"
#include "kernels/graph/parameters.h"
#include "kernels/tensor/arena.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

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
  bool training() const { return training_; }
  /// Off: a training graph without dropout, for given weights and gradient checks. On at first.
  void set_dropout(bool on) { dropout_ = on; }
  bool drops() const { return training_ && dropout_; }

  // -- recording ------------------------------------------------------------------------------
  /// [R, rows, cols] of the declared shape.
  Tensor parameter(Parameter p);
  /// A value that the caller writes (`value`) before `forward`.
  Tensor input(const Shape& shape, bool wants_gradient);
  /// Records an operation; returns its outputs.
  std::vector<Tensor> add(std::unique_ptr<Operation> operation);
  /// A number for each random operation of the graph: part of its Philox counter.
  std::uint32_t next_random_id() { return random_ids_++; }
  /// The value, and for roots and inputs the gradient, may be read after a replay.
  void keep(const Tensor& tensor);
  /// Backward begins here, with the gradient that the caller writes (`gradient`), one at first.
  void set_root(const Tensor& tensor);
  /// Ends recording: plans the memory in `arena` and reserves it.
  void finish(Arena& arena);

  // -- replay ---------------------------------------------------------------------------------
  void forward(const Batch& batch);
  /// After `forward` of a training graph with a root: gradients of all parameters in use.
  void backward();

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
  std::size_t arena_bytes() const { return arena_bytes_; }
  /// A line an operation: name, outputs, for people and for profiles.
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
    bool wanted = false, accumulate = false;
  };
  struct Node {
    std::unique_ptr<Operation> operation;
    std::vector<Tensor> outputs;
    bool backward = false;              // has a backward step in this graph
    std::vector<GradientWrite> writes;  // one an input
    std::vector<int> zero_before;       // values whose gradient is zeroed before backward
    int scratch_piece[2] = {-1, -1};    // forward, backward
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
  void find_backward_nodes();
  void plan_gradient_writes();
  void plan_value_memory(struct PlanBuilder& builder);
  void resolve_pointers();
  void poison(const Node& node, bool backward);
  void run(Node& node, bool backward);

  Parameters& parameters_;
  bool training_;
  bool dropout_ = true;
  bool finished_ = false;
  bool profiling_ = false;
  std::vector<Value> values_;
  std::vector<int> parameter_values_;
  std::vector<Node> nodes_;
  std::vector<std::unique_ptr<Arena>> inputs_;
  Tensor root_;
  Batch batch_;
  std::uint32_t random_ids_ = 0;
  std::size_t arena_bytes_ = 0;
  Arena* arena_ = nullptr;
  std::byte* resolved_for_ = nullptr;
  std::vector<std::size_t> offsets_;  // of the plan's pieces
};

}  // namespace recallbench
