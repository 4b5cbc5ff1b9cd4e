// The end of a graph's recording: which operations have a backward step, whether each gradient
// write overwrites or adds or goes to memory of its own first, and where everything lies in the
// arena.
#include <algorithm>

#include "kernels/graph/graph.h"
#include "kernels/graph/plan.h"

namespace recallbench {
namespace {

std::size_t at(int i) {
  return static_cast<std::size_t>(i);
}

/// Bytes of partial sums up to which an operation's may wait: beyond, a launch saved is worth less
/// than sums that are read while they are in the L2.
constexpr Index kMostLateBytes = Index{16} << 20;

/// One write to a value's gradient: when, by whom, and to which rectangle of it.
struct Write {
  int time, node, input;
  Tensor region;
};

bool same_region(const Tensor& a, const Tensor& b) {
  return a.offset == b.offset && a.stride == b.stride && a.rows() == b.rows() &&
         a.cols() == b.cols();
}

bool disjoint(const Tensor& a, const Tensor& b) {
  if (a.stride != b.stride) return false;  // not comparable: treated as overlapping
  const Index a_row = a.offset / a.stride, b_row = b.offset / b.stride;
  const Index a_col = a.offset % a.stride, b_col = b.offset % b.stride;
  return a_row + a.rows() <= b_row || b_row + b.rows() <= a_row || a_col + a.cols() <= b_col ||
         b_col + b.cols() <= a_col;
}

/// True if the distinct regions of `writes` tile the whole value: then the first write of each may
/// overwrite. Otherwise the gradient is zeroed first and every write adds.
bool tiles(const std::vector<Write>& writes, Index elements) {
  std::vector<const Tensor*> regions;
  Index covered = 0;
  for (const Write& write : writes) {
    bool known = false;
    for (const Tensor* region : regions) {
      if (same_region(*region, write.region)) {
        known = true;
      } else if (region->shape.per_replica() == elements &&
                 write.region.shape.per_replica() == elements) {
        known = true;  // reshaped: the whole value in other dimensions
      } else if (!disjoint(*region, write.region)) {
        return false;
      }
    }
    if (known) continue;
    regions.push_back(&write.region);
    covered += write.region.shape.per_replica();
  }
  return covered == elements;
}

/// Whether one input alone is of this value.
bool reads_once(const Operation& op, int value) {
  return std::count_if(op.inputs().begin(), op.inputs().end(), [value](const Operation::Use& use) {
           return use.tensor.value == value;
         }) == 1;
}

}  // namespace

/// Lifetimes as they are found; pieces are numbered in the order of their making.
struct PlanBuilder {
  std::vector<Lifetime> pieces;

  int add(std::size_t bytes, int first, int last) {
    pieces.push_back({bytes, first, last});
    return static_cast<int>(pieces.size()) - 1;
  }
  void extend(int piece, int time) {
    Lifetime& life = pieces[at(piece)];
    life.first = std::min(life.first, time);
    life.last = std::max(life.last, time);
  }
};

int Graph::gradient_time(int node) const {
  return nodes_[at(node)].operation->gradients_in_forward() ? node : 2 * node_count() - 1 - node;
}

int Graph::backward_time(int node) const {
  return nodes_[at(node)].operation->works_beside() ? 2 * node_count() : gradient_time(node);
}

void Graph::find_backward_nodes() {
  std::vector<bool> receives(values_.size(), false);
  for (const Tensor& root : roots_)
    receives[at(root.value)] = true;
  for (int i = node_count() - 1; i >= 0; --i) {
    Node& node = nodes_[at(i)];
    const Operation& op = *node.operation;
    bool reached = op.gradients_in_forward() && !roots_.empty();
    for (const Tensor& output : node.outputs)
      reached = reached || receives[at(output.value)];
    for (std::size_t k = 0; k < op.inputs().size(); ++k) {
      const int value = op.inputs()[k].tensor.value;
      node.writes[k].wanted = training_ && reached && values_[at(value)].wants_gradient;
      if (!node.writes[k].wanted) continue;
      node.backward = true;
      receives[at(value)] = true;
    }
  }
}

void Graph::plan_gradient_writes() {
  std::vector<std::vector<Write>> writes(values_.size());
  for (int i = 0; i < node_count(); ++i) {
    const Node& node = nodes_[at(i)];
    for (int k = 0; k < static_cast<int>(node.writes.size()); ++k) {
      const Tensor& tensor = node.operation->inputs()[at(k)].tensor;
      if (node.writes[at(k)].wanted)
        writes[at(tensor.value)].push_back({gradient_time(i), i, k, tensor});
    }
  }
  for (int v = 0; v < static_cast<int>(values_.size()); ++v) {
    std::vector<Write>& of_value = writes[at(v)];
    std::stable_sort(of_value.begin(), of_value.end(),
                     [](const Write& a, const Write& b) { return a.time < b.time; });
    if (of_value.empty()) continue;
    if (of_value.size() == 1)
      nodes_[at(of_value[0].node)].writes[at(of_value[0].input)].late = values_[at(v)].external;
    const bool overwrite = tiles(of_value, values_[at(v)].shape.per_replica());
    if (!overwrite) nodes_[at(of_value[0].node)].zero_before.push_back(v);
    for (std::size_t i = 0; i < of_value.size(); ++i) {
      GradientWrite& write = nodes_[at(of_value[i].node)].writes[at(of_value[i].input)];
      write.accumulate = !overwrite;
      for (std::size_t j = 0; j < i; ++j) {
        if (disjoint(of_value[j].region, of_value[i].region)) continue;
        write.accumulate = true;
        write.apart = write.apart || of_value[j].node == of_value[i].node;
      }
    }
  }
  for (Node& node : nodes_) {  // outputs beside one that receives a gradient, themselves without
    if (!node.backward || node.operation->gradients_in_forward()) continue;
    for (const Tensor& output : node.outputs) {
      const bool received = !writes[at(output.value)].empty() || is_root(output.value);
      if (values_[at(output.value)].wants_gradient && !received)
        node.zero_before.push_back(output.value);
    }
  }
}

/// Who waits for what runs beside, and whose partial sums wait.
void Graph::plan_joins() {
  std::vector<bool> gradients(values_.size(), false), outputs(values_.size(), false);
  for (Node& node : nodes_) {  // forward: what is beside by then
    const Operation& op = *node.operation;
    for (std::size_t k = 0; k < node.writes.size(); ++k) {
      const auto value = at(op.inputs()[k].tensor.value);
      const bool writes = op.gradients_in_forward() && node.writes[k].wanted;
      if (outputs[value] || (writes && gradients[value])) node.join_before[0] = true;
    }
    if (!node.backward) continue;
    for (const int k : op.gradients_beside())
      gradients[at(op.inputs()[at(k)].tensor.value)] = true;
    for (const int k : op.outputs_beside())
      outputs[at(node.outputs[at(k)].value)] = true;
  }
  for (Node& node : nodes_) {
    const Operation& op = *node.operation;
    node.late_sums = op.partial_sums() > 0 &&
                     op.partial_sums() * static_cast<Index>(size_of(type())) <= kMostLateBytes;
    bool& joins = node.join_before[1];
    joins = op.works_beside();
    for (std::size_t k = 0; k < node.writes.size(); ++k) {
      const auto value = at(op.inputs()[k].tensor.value);
      joins = joins || outputs[value] || (node.writes[k].wanted && gradients[value]);
    }
    for (const Tensor& output : node.outputs)
      joins = joins || gradients[at(output.value)];
  }
}

void Graph::plan_value_memory(PlanBuilder& builder) {
  const int end = 2 * node_count();
  std::vector<int> last_read(values_.size(), -1);
  for (int i = 0; i < node_count(); ++i) {
    const Node& node = nodes_[at(i)];
    const int backward_step = node.backward ? backward_time(i) : i;
    for (const Operation::Use& use : node.operation->inputs()) {
      int& last = last_read[at(use.tensor.value)];
      last = std::max(last, use.in_backward == InBackward::read ? backward_step : i);
    }
    for (std::size_t k = 0; k < node.outputs.size(); ++k) {
      int& last = last_read[at(node.outputs[k].value)];
      const bool read = node.operation->outputs()[k].in_backward == InBackward::read;
      last = std::max(last, read ? backward_step : i);
    }
  }
  for (int i = 0; i < node_count(); ++i) {
    const Node& node = nodes_[at(i)];
    for (std::size_t k = 0; k < node.outputs.size(); ++k) {
      Value& value = values_[at(node.outputs[k].value)];
      const auto& beside = node.operation->outputs_beside();
      const bool written_beside = node.backward && std::find(beside.begin(), beside.end(),
                                                             static_cast<int>(k)) != beside.end();
      const int last = value.kept || written_beside ? end : last_read[at(node.outputs[k].value)];
      const int reused = k == 0 ? node.operation->reused_input() : -1;
      if (reused >= 0) {
        const Tensor& input = node.operation->inputs()[at(reused)].tensor;
        const Value& source = values_[at(input.value)];
        if (source.piece >= 0 && !source.kept && last_read[at(input.value)] == i &&
            input.shape.per_replica() == source.shape.per_replica() &&
            value_bytes(source) == value_bytes(value) && reads_once(*node.operation, input.value)) {
          value.piece = source.piece;
          builder.extend(value.piece, last);
          continue;
        }
      }
      value.piece = builder.add(value_bytes(value), value.kept ? 0 : i, last);
    }
  }
}

void Graph::finish(Arena& arena) {
  check(!finished_, "Graph::finish", "called twice");
  check(arena.device() == device(), "Graph::finish", "expected an arena of the parameters' device");
  for (const Node& node : nodes_)
    if (device() == Device::cuda && !node.operation->has_cuda())
      throw NoCudaCode(ErrorKind::usage,
                       fmt::format("[{}] this operation has no CUDA code; use --device cpu",
                                   node.operation->name()));
  finished_ = true;
  find_backward_nodes();
  plan_gradient_writes();
  plan_joins();
  PlanBuilder builder;
  plan_value_memory(builder);
  std::vector<int> producer(values_.size(), -1);
  for (int i = 0; i < node_count(); ++i)
    for (const Tensor& output : nodes_[at(i)].outputs)
      producer[at(output.value)] = i;
  const auto touch_gradient = [&](int v, int time) {
    Value& value = values_[at(v)];
    if (value.external) return;
    if (value.gradient_piece < 0)
      value.gradient_piece = builder.add(value_bytes(value), time, time);
    builder.extend(value.gradient_piece, time);
    builder.extend(value.gradient_piece, gradient_time(producer[at(v)]));
  };
  for (int i = 0; i < node_count(); ++i) {
    Node& node = nodes_[at(i)];
    for (std::size_t k = 0; k < node.writes.size(); ++k) {
      if (!node.writes[k].wanted) continue;
      const int v = node.operation->inputs()[k].tensor.value;
      touch_gradient(v, gradient_time(i));
      if (node.writes[k].apart)
        node.writes[k].piece =
            builder.add(value_bytes(values_[at(v)]), gradient_time(i), gradient_time(i));
    }
    for (const int v : node.zero_before)
      touch_gradient(v, gradient_time(i));
    for (const bool backward : {false, true}) {
      const Index elements = node.operation->scratch_elements(backward);
      if (elements == 0 || (backward && !node.backward)) continue;
      const int time = backward ? gradient_time(i) : i;
      const bool stays =
          backward ? node.late_sums : node.backward && node.operation->works_beside();
      node.scratch_piece[backward ? 1 : 0] =
          builder.add(static_cast<std::size_t>(elements) * size_of(type()), time,
                      stays ? 2 * node_count() : time);
    }
  }
  for (const Tensor& root : roots_) {
    if (!training_ || values_[at(root.value)].external) continue;
    if (nodes_[at(producer[at(root.value)])].operation->gradients_in_forward()) continue;
    touch_gradient(root.value, node_count() - 1);
    builder.extend(values_[at(root.value)].gradient_piece, 2 * node_count());
  }
  const MemoryPlan plan = plan_memory(builder.pieces);
  offsets_ = plan.offsets;
  arena_ = &arena;
  arena.reserve(plan.bytes);
}

}  // namespace recallbench
