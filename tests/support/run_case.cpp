#include "tests/support/run_case.h"

#include <algorithm>

#include "kernels/graph/batch_copy.h"

namespace recallbench::testing {

namespace {

std::size_t at(Index i) {
  return static_cast<std::size_t>(i);
}

Shape with_replicas(const std::vector<Index>& s, Index replicas) {
  switch (s.size()) {
    case 1:
      return {replicas, s[0]};
    case 2:
      return {replicas, s[0], s[1]};
    case 3:
      return {replicas, s[0], s[1], s[2]};
    default:
      return {replicas, s.at(0), s.at(1), s.at(2), s.at(3)};
  }
}

template <class V>
std::vector<V> repeated(const std::vector<V>& one, Index times) {
  std::vector<V> all;
  for (Index i = 0; i < times; ++i)
    all.insert(all.end(), one.begin(), one.end());
  return all;
}

}  // namespace

std::vector<HostTensor> case_inputs(const OpCase& c, std::uint64_t seed) {
  std::vector<HostTensor> inputs;
  for (const std::vector<Index>& shape : c.inputs) {
    Index count = 1;
    for (const Index size : shape)
      count *= size;
    inputs.push_back({shape, normal_numbers(count, seed + inputs.size(), c.scale)});
  }
  return inputs;
}

template <class T>
PreparedCase<T>::PreparedCase(const OpCase& c, const std::vector<HostTensor>& inputs, bool training,
                              Index replicas, Placement placement)
    : batch_(c.batch),
      loss_(c.loss),
      replicas_(replicas),
      training_(training),
      seeds_(at(replicas), 17),
      parameters_({}, kDType<T>, replicas, placement.device),
      arena_(placement.device),
      batch_memory_(placement.device),
      graph_(parameters_, training) {
  graph_.set_precision(placement.precision);
  for (const HostTensor& input : inputs) {
    const Tensor tensor = graph_.input(with_replicas(input.shape, replicas), true);
    for (Index r = 0; r < replicas; ++r)
      graph_.write(tensor, r, input.data);
    inputs_.push_back(tensor);
  }
  outputs_ = c.build(graph_, inputs_);
  for (const Tensor& output : outputs_)
    graph_.keep(output);
  if (training)
    for (const Tensor& output : outputs_)
      if (!loss_ || output.value == outputs_[0].value) graph_.set_root(output);
  graph_.finish(arena_);
  batch_.tokens = repeated(c.batch.tokens, replicas);
  batch_.positions = repeated(c.batch.positions, replicas);
  batch_.targets = repeated(c.batch.targets, replicas);
  batch_.weights = repeated(c.batch.weights, replicas);
}

template <class T>
void PreparedCase<T>::forward() {
  graph_.forward(batch_on_device(
      {batch_.examples, batch_.length, batch_.labels, batch_.tokens.data(), batch_.positions.data(),
       batch_.targets.data(), batch_.weights.data(), 3, seeds_},
      replicas_, batch_memory_));
}

template <class T>
void PreparedCase<T>::replay_alone() {
  forward();
  if (training_) graph_.backward();
}

template <class T>
void PreparedCase<T>::replay() {
  forward();
  if (!training_) return;
  for (std::size_t k = 0; k < outputs_.size() && !loss_; ++k) {
    std::vector<double> weights(at(outputs_[k].shape.per_replica()));
    for (std::size_t i = 0; i < weights.size(); ++i)
      weights[i] = output_weight(static_cast<int>(k), static_cast<Index>(i));
    for (Index r = 0; r < replicas_; ++r)
      graph_.write_gradient(outputs_[k], r, weights);
  }
  graph_.backward();
}

double CaseResult::gradient_scale() const {
  double largest = 1e-3;
  for (const auto& gradient : gradients)
    largest = std::max(largest, largest_magnitude(gradient));
  return largest;
}

template <class T>
CaseResult PreparedCase<T>::result(Index replica) const {
  CaseResult result;
  for (const Tensor& output : outputs_)
    result.outputs.push_back(graph_.read(output, replica));
  if (training_)
    for (const Tensor& input : inputs_)
      result.gradients.push_back(graph_.read_gradient(input, replica));
  return result;
}

template class PreparedCase<float>;
template class PreparedCase<double>;

template <class T>
CaseResult run_case(const OpCase& c, const std::vector<HostTensor>& inputs, Index replicas,
                    Index replica, bool training, Placement placement) {
  PreparedCase<T> prepared(c, inputs, training, replicas, placement);
  prepared.replay();
  return prepared.result(replica);
}

template CaseResult run_case<float>(const OpCase&, const std::vector<HostTensor>&, Index, Index,
                                    bool, Placement);
template CaseResult run_case<double>(const OpCase&, const std::vector<HostTensor>&, Index, Index,
                                     bool, Placement);

}  // namespace recallbench::testing
