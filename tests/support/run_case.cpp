#include "tests/support/run_case.h"

#include <algorithm>
#include <limits>

#include "kernels/graph/execution.h"

namespace recallbench::testing {

namespace {

std::size_t at(Index i) {
  return static_cast<std::size_t>(i);
}

/// Σ over outputs and elements of output_weight ⊙ output: one number with a known gradient.
class WeightedSum : public TypedOperation<WeightedSum> {
 public:
  explicit WeightedSum(const std::vector<Tensor>& outputs)
      : count_(static_cast<int>(outputs.size())) {
    for (const Tensor& output : outputs)
      reads(output, InBackward::unused);
    writes(Shape{outputs[0].shape.replicas(), 1, 1}, InBackward::unused);
  }
  std::string_view name() const override { return "weighted_sum"; }

  template <class T>
  void forward_as(Execution& e) {
    for (Index r = 0; r < e.replicas(); ++r) {
      double sum = 0;
      for (int k = 0; k < count_; ++k) {
        const Matrix<T> m = e.input<T>(k).replica(r);
        for (Index i = 0; i < m.rows; ++i)
          for (Index j = 0; j < m.cols; ++j)
            sum += output_weight(k, i * m.cols + j) * m.row(i)[j];
      }
      e.output<T>(0).replica(r).data[0] = static_cast<T>(sum);
    }
  }
  template <class T>
  void backward_as(Execution& e) {
    for (int k = 0; k < count_; ++k) {
      const Gradient<T> g = e.input_gradient<T>(k);
      if (!g.wanted) continue;
      for (Index r = 0; r < e.replicas(); ++r) {
        const Matrix<T> m = g.view.replica(r);
        for (Index i = 0; i < m.rows; ++i) {
          for (Index j = 0; j < m.cols; ++j) {
            const T value = static_cast<T>(output_weight(k, i * m.cols + j));
            m.row(i)[j] = g.accumulate ? m.row(i)[j] + value : value;
          }
        }
      }
    }
  }

 private:
  int count_;
};

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

template <class T>
std::vector<double> host(const Batched<T>& view, Index replica) {
  const Matrix<T> m = view.replica(replica);
  std::vector<double> numbers;
  for (Index i = 0; i < m.rows; ++i)
    numbers.insert(numbers.end(), m.row(i), m.row(i) + m.cols);
  return numbers;
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
                              Index replicas)
    : batch_(c.batch),
      replicas_(replicas),
      training_(training),
      seeds_(at(replicas), 17),
      parameters_({}, kDType<T>, replicas),
      graph_(parameters_, training) {
  for (const HostTensor& input : inputs) {
    const Tensor tensor = graph_.input(with_replicas(input.shape, replicas), true);
    const Batched<T> view = graph_.value<T>(tensor);
    for (Index r = 0; r < replicas; ++r)
      std::transform(input.data.begin(), input.data.end(), view.replica(r).data,
                     [](double x) { return static_cast<T>(x); });
    inputs_.push_back(tensor);
  }
  outputs_ = c.build(graph_, inputs_);
  for (const Tensor& output : outputs_)
    graph_.keep(output);
  if (training)
    graph_.set_root(c.loss ? outputs_[0] : graph_.add(std::make_unique<WeightedSum>(outputs_))[0]);
  graph_.finish(arena_);
  batch_.tokens = repeated(c.batch.tokens, replicas);
  batch_.positions = repeated(c.batch.positions, replicas);
  batch_.targets = repeated(c.batch.targets, replicas);
  batch_.weights = repeated(c.batch.weights, replicas);
}

template <class T>
void PreparedCase<T>::replay() {
  graph_.forward({batch_.examples, batch_.length, batch_.labels, batch_.tokens.data(),
                  batch_.positions.data(), batch_.targets.data(), batch_.weights.data(), 3,
                  seeds_});
  if (training_) graph_.backward();
}

template <class T>
CaseResult PreparedCase<T>::result(Index replica) const {
  CaseResult result;
  for (const Tensor& output : outputs_)
    result.outputs.push_back(host(graph_.value<T>(output), replica));
  if (training_)
    for (const Tensor& input : inputs_)
      result.gradients.push_back(host(graph_.gradient<T>(input), replica));
  return result;
}

template class PreparedCase<float>;
template class PreparedCase<double>;

template <class T>
CaseResult run_case(const OpCase& c, const std::vector<HostTensor>& inputs, Index replicas,
                    Index replica, bool training) {
  PreparedCase<T> prepared(c, inputs, training, replicas);
  prepared.replay();
  return prepared.result(replica);
}

template CaseResult run_case<float>(const OpCase&, const std::vector<HostTensor>&, Index, Index,
                                    bool);
template CaseResult run_case<double>(const OpCase&, const std::vector<HostTensor>&, Index, Index,
                                     bool);

}  // namespace recallbench::testing
