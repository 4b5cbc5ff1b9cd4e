#include "kernels/graph/graph.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "kernels/cuda/branch.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/set_numbers.h"
#include "kernels/elementwise/elementwise_cpu.h"
#include "kernels/elementwise/elementwise_cuda.h"
#include "kernels/graph/execution.h"
#include "kernels/tensor/device_copy.h"

namespace recallbench {
namespace {

std::size_t at(int i) {
  return static_cast<std::size_t>(i);
}

}  // namespace

Graph::Graph(Parameters& parameters, bool training)
    : parameters_(parameters), training_(training), parameter_values_(at(parameters.count()), -1) {}

int Graph::new_value(const Shape& shape, bool wants_gradient) {
  check(!finished_, "Graph", "recording has ended");
  check(shape.replicas() == replicas(), "Graph", "expected {} replicas, got shape {}", replicas(),
        shape.text());
  Value value;
  value.shape = shape;
  const std::size_t slice = static_cast<std::size_t>(shape.per_replica()) * size_of(type());
  value.replica_stride = static_cast<Index>(align_up(slice) / size_of(type()));
  value.wants_gradient = wants_gradient;
  values_.push_back(value);
  return static_cast<int>(values_.size()) - 1;
}

std::size_t Graph::value_bytes(const Value& value) const {
  return static_cast<std::size_t>(value.replica_stride * replicas()) * size_of(type());
}

Tensor Graph::parameter(Parameter p) {
  check(p.id >= 0 && p.id < parameters_.count(), "Graph::parameter", "no parameter {}", p.id);
  const ParameterSpec& spec = parameters_.spec(p);
  const Shape shape{replicas(), spec.rows(), spec.cols()};
  int& value = parameter_values_[at(p.id)];
  if (value < 0) {
    value = new_value(shape, training_ && spec.trainable);
    Value& v = values_[at(value)];
    v.parameter = p.id;
    v.external = true;
    v.replica_stride = parameters_.slab();
    const auto bind = [&](auto type) {
      using T = decltype(type);
      v.data = reinterpret_cast<std::byte*>(parameters_.value<T>(p).data);
      v.gradient = reinterpret_cast<std::byte*>(parameters_.gradient<T>(p).data);
    };
    type() == DType::f32 ? bind(float{}) : bind(double{});
  }
  return {shape, value, 0, shape.cols()};
}

Tensor Graph::input(const Shape& shape, bool wants_gradient) {
  const int value = new_value(shape, training_ && wants_gradient);
  Value& v = values_[at(value)];
  v.external = true;
  for (std::byte** memory : {&v.data, &v.gradient}) {
    inputs_.push_back(std::make_unique<Arena>(device()));
    inputs_.back()->reserve(value_bytes(v));
    *memory = inputs_.back()->data();
  }
  return {shape, value, 0, shape.cols()};
}

std::vector<Tensor> Graph::add(std::unique_ptr<Operation> operation) {
  bool wants_gradient = false;
  for (const Operation::Use& use : operation->inputs()) {
    check(use.tensor.value >= 0 && use.tensor.value < static_cast<int>(values_.size()),
          "Graph::add", "an input of '{}' is not of this graph", operation->name());
    const bool wants = values_[at(use.tensor.value)].wants_gradient;
    check(!(wants && use.constant), "Graph::add",
          "'{}' has no gradient of its input {}, which wants one: make it a buffer, or an input "
          "without gradient",
          operation->name(), use.tensor.shape.text());
    wants_gradient = wants_gradient || wants;
  }
  Node node;
  for (const Operation::Output& output : operation->outputs()) {
    const int value = new_value(output.shape, wants_gradient && output.differentiable);
    node.outputs.push_back({output.shape, value, 0, output.shape.cols()});
  }
  node.writes.resize(operation->inputs().size());
  node.operation = std::move(operation);
  nodes_.push_back(std::move(node));
  return nodes_.back().outputs;
}

const Graph::Value& Graph::value_of(const char* who, const Tensor& tensor) const {
  check(tensor.value >= 0 && tensor.value < static_cast<int>(values_.size()), who,
        "the tensor {} is not of this graph", tensor.shape.text());
  return values_[at(tensor.value)];
}

void Graph::keep(const Tensor& tensor) {
  value_of("Graph::keep", tensor);
  check(!finished_, "Graph::keep", "recording has ended: keep a tensor before finish()");
  values_[at(tensor.value)].kept = true;
}

void Graph::set_root(const Tensor& tensor) {
  check(!is_root(tensor.value), "Graph::set_root", "this is a root already");
  keep(tensor);
  roots_.push_back(tensor);
}

bool Graph::is_root(int value) const {
  return std::any_of(roots_.begin(), roots_.end(),
                     [value](const Tensor& root) { return root.value == value; });
}

bool Graph::uses(Parameter p) const {
  const int value = parameter_values_[at(p.id)];
  if (value < 0 || !values_[at(value)].wants_gradient) return false;
  for (const Node& node : nodes_) {
    for (std::size_t k = 0; k < node.writes.size(); ++k) {
      if (node.writes[k].wanted && node.operation->inputs()[k].tensor.value == value) return true;
    }
  }
  return false;
}

std::vector<Parameter> Graph::used_parameters() const {
  std::vector<Parameter> used;
  for (int id = 0; id < parameters_.count(); ++id)
    if (uses({id})) used.push_back({id});
  return used;
}

void Graph::resolve_pointers() {
  if (arena_ == nullptr || resolved_for_ == arena_->data()) return;
  resolved_for_ = arena_->data();
  const auto memory = [&](int piece) {
    return piece < 0 ? nullptr : resolved_for_ + offsets_[at(piece)];
  };
  for (Value& value : values_) {
    if (value.piece >= 0) value.data = memory(value.piece);
    if (value.gradient_piece >= 0) value.gradient = memory(value.gradient_piece);
  }
  for (Node& node : nodes_) {
    for (int phase : {0, 1})
      node.scratch[phase] = memory(node.scratch_piece[phase]);
    for (GradientWrite& write : node.writes)
      write.memory = memory(write.piece);
  }
}

void Graph::fill(std::byte* memory, int value, std::size_t bytes) const {
  if (device() == Device::cpu) std::memset(memory, value, bytes);
  if constexpr (kCudaBuild)
    if (device() == Device::cuda) cuda_fill(memory, value, bytes);
}

/// Of every replica; what pads the slices stays.
void Graph::set_gradient(const Value& v, float to) const {
  const Index slice = v.shape.per_replica();
  const auto fill = [&]<typename T>(T* gradient) {
    for (Index r = 0; r < replicas(); ++r)
      std::fill_n(gradient + r * v.replica_stride, slice, T{to});
  };
  if (type() == DType::f64) {
    fill(reinterpret_cast<double*>(v.gradient));
  } else if (device() == Device::cpu) {
    fill(reinterpret_cast<float*>(v.gradient));
  } else if constexpr (kCudaBuild) {
    cuda_set_numbers(
        cuda_stream(),
        {reinterpret_cast<float*>(v.gradient), replicas(), 1, slice, slice, v.replica_stride}, to);
  }
}

void Graph::start_at_roots() {
  for (const Tensor& root : roots_) {
    const Value& v = values_[at(root.value)];
    if (v.gradient != nullptr) set_gradient(v, 1);
  }
}

void Graph::poison(const Node& node, bool backward) {
  if (!memory_poisoning()) return;
  constexpr int kNan = 0xFF;
  const Operation& op = *node.operation;
  if (!backward) {
    for (const Tensor& output : node.outputs) {
      const Value& value = values_[at(output.value)];
      const bool shared =
          op.reused_input() >= 0 &&
          values_[at(op.inputs()[at(op.reused_input())].tensor.value)].piece == value.piece;
      if (!shared) fill(value.data, kNan, value_bytes(value));
    }
  }
  if (backward || (op.gradients_in_forward() && node.backward)) {
    for (std::size_t k = 0; k < node.writes.size(); ++k) {
      const Value& value = values_[at(op.inputs()[k].tensor.value)];
      const bool whole = op.inputs()[k].tensor.shape.per_replica() == value.shape.per_replica();
      if (node.writes[k].wanted && !node.writes[k].accumulate && whole && value.parameter < 0)
        fill(value.gradient, kNan, value_bytes(value));
      if (node.writes[k].apart) fill(node.writes[k].memory, kNan, value_bytes(value));
    }
  }
  if (std::byte* scratch = node.scratch[backward ? 1 : 0])
    fill(scratch, kNan, static_cast<std::size_t>(op.scratch_elements(backward)) * size_of(type()));
}

void Graph::join_beside() const {
  if (!std::exchange(beside_, false)) return;
  if constexpr (kCudaBuild) cuda_join({cuda_stream(), precision_, nullptr, nullptr}, Branch::pass);
}

/// Runs the last operation; on a GPU beside the sums that have waited so far, and then adds up
/// those of the last.
void Graph::end_backward(Node& last) {
  if (device() == Device::cpu) return run(last, true);
  if constexpr (kCudaBuild) {
    const CudaCall line{cuda_stream(), precision_, nullptr, nullptr};
    const auto add_up = [this](const CudaCall& call) {
      sum_late_partials_cuda(call, late_sums_);
      late_sums_.clear();
    };
    const bool waiting = !late_sums_.empty();
    if (waiting) add_up(cuda_fork(line, Branch::operation));
    run(last, true);
    if (waiting) cuda_join(line, Branch::operation);
    add_up(line);
  }
}

/// The gradients that were made in memory of their own, to those with which their inputs share
/// numbers.
void Graph::add_gradients_apart(const Node& node) const {
  for (std::size_t k = 0; k < node.writes.size(); ++k) {
    if (!node.writes[k].apart) continue;
    std::byte* const from = node.writes[k].memory;
    if (node.operation->works_beside()) join_beside();
    const Tensor& to = node.operation->inputs()[k].tensor;
    if (type() == DType::f64) {
      copy_cpu<double>(view<double>(to, from), {gradient<double>(to), true, true});
    } else if (device() == Device::cpu) {
      copy_cpu<float>(view<float>(to, from), {gradient<float>(to), true, true});
    } else if constexpr (kCudaBuild) {
      copy_cuda({cuda_stream(), precision_, nullptr, nullptr}, view<float>(to, from),
                {gradient<float>(to), true, true});
    }
  }
}

void Graph::run(Node& node, bool backward) {
  const bool writes_gradients =
      backward || (node.backward && node.operation->gradients_in_forward());
  if (node.join_before[backward ? 1 : 0]) join_beside();
  poison(node, backward);
  if (writes_gradients) {
    for (const int value : node.zero_before)
      set_gradient(values_[at(value)], 0);
  }
  Execution execution(*this, node, backward);
  const auto work = [&] {
    backward ? node.operation->backward(execution) : node.operation->forward(execution);
    if (writes_gradients) add_gradients_apart(node);
  };
  if (!profiling_) return work();
  const auto wait = [this] {
    if constexpr (kCudaBuild)
      if (device() == Device::cuda) cuda_synchronize();
  };
  wait();
  const auto start = std::chrono::steady_clock::now();
  work();
  wait();
  node.seconds[backward ? 1 : 0] +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Graph::forward(const Batch& batch) {
  check(finished_, "Graph::forward", "finish() comes first");
  join_beside();  // of a pass without backward
  resolve_pointers();
  batch_ = batch;
  for (Node& node : nodes_)
    run(node, false);
  has_run_ = true;
  if (training_) start_at_roots();
  if (!training_ || roots_.empty()) join_beside();
}

void Graph::backward() {
  check(training_ && !roots_.empty(), "Graph::backward", "expected a training graph with a root");
  check(has_run_, "Graph::backward", "forward() comes first");
  late_sums_.clear();
  const auto goes_back = [](const Node& node) {
    return node.backward && !node.operation->gradients_in_forward();
  };
  const auto last = std::find_if(nodes_.begin(), nodes_.end(), goes_back);
  for (auto node = nodes_.end(); node != nodes_.begin();)
    if (--node != last && goes_back(*node)) run(*node, true);
  if (last != nodes_.end()) end_backward(*last);
  join_beside();
}

std::vector<double> Graph::read_memory(const Tensor& tensor, Index replica, std::byte* data) const {
  join_beside();
  return type() == DType::f32 ? read_matrix(device(), view<float>(tensor, data).replica(replica))
                              : read_matrix(device(), view<double>(tensor, data).replica(replica));
}

void Graph::write_memory(const Tensor& tensor, Index replica, std::byte* data,
                         std::span<const double> numbers) const {
  check(static_cast<Index>(numbers.size()) == tensor.shape.per_replica(), "Graph::write",
        "expected {} numbers for {}, got {}", tensor.shape.per_replica(), tensor.shape.text(),
        numbers.size());
  join_beside();
  type() == DType::f32
      ? write_matrix(device(), numbers, view<float>(tensor, data).replica(replica))
      : write_matrix(device(), numbers, view<double>(tensor, data).replica(replica));
}

void Graph::check_memory(const char* who, const Value& value, Index replica) const {
  check(replica >= 0 && replica < replicas(), who, "expected a replica below {}, got {}",
        replicas(), replica);
  const bool placed = arena_ != nullptr && resolved_for_ != nullptr;
  check(value.external || (placed && resolved_for_ == arena_->data()), who,
        "there is nothing in {} yet: forward() comes first", value.shape.text());
}

std::vector<double> Graph::read(const Tensor& tensor, Index replica) const {
  const Value& v = value_of("Graph::read", tensor);
  check(v.external || v.kept, "Graph::read",
        "other values may lie where {} was: keep() it before finish()", v.shape.text());
  check_memory("Graph::read", v, replica);
  return read_memory(tensor, replica, v.data);
}

std::byte* Graph::gradient_memory(const char* who, const Tensor& tensor, Index replica) const {
  const Value& v = value_of(who, tensor);
  check_memory(who, v, replica);
  check(v.gradient != nullptr, who, "the graph writes no gradient of {}", v.shape.text());
  return v.gradient;
}

std::vector<double> Graph::read_gradient(const Tensor& tensor, Index replica) const {
  const Value& v = value_of("Graph::read_gradient", tensor);
  check(is_root(tensor.value) || (v.external && v.wants_gradient), "Graph::read_gradient",
        "{} is neither a root nor an input or parameter that wants a gradient", v.shape.text());
  return read_memory(tensor, replica, gradient_memory("Graph::read_gradient", tensor, replica));
}

void Graph::write(const Tensor& tensor, Index replica, std::span<const double> numbers) {
  const Value& v = value_of("Graph::write", tensor);
  check(v.external, "Graph::write", "{} is neither an input nor a parameter: the graph computes it",
        v.shape.text());
  check_memory("Graph::write", v, replica);
  write_memory(tensor, replica, v.data, numbers);
}

void Graph::write_gradient(const Tensor& tensor, Index replica, std::span<const double> numbers) {
  const Value& v = value_of("Graph::write_gradient", tensor);
  check(is_root(tensor.value), "Graph::write_gradient", "{} is no root", v.shape.text());
  write_memory(tensor, replica, gradient_memory("Graph::write_gradient", tensor, replica), numbers);
}

std::string Graph::text() const {
  std::string lines;
  for (const Node& node : nodes_) {
    lines += fmt::format("{:24}", node.operation->name());
    for (const Tensor& output : node.outputs)
      lines += " " + output.shape.text();
    if (node.backward) lines += "  (backward)";
    if (node.join_before[0]) lines += "  forward joins";
    if (node.join_before[1]) lines += "  backward joins";
    lines += "\n";
  }
  return lines;
}

std::vector<Graph::Profile> Graph::profile() const {
  std::vector<Profile> profile;
  for (const Node& node : nodes_) {
    profile.push_back(
        {fmt::format("{} {}", node.operation->name(), node.outputs.front().shape.text()),
         node.seconds[0], node.seconds[1]});
  }
  return profile;
}

}  // namespace recallbench
