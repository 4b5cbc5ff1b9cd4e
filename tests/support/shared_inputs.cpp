#include "tests/support/shared_inputs.h"

#include <algorithm>

#include "kernels/elementwise/elementwise.h"

namespace recallbench::testing {
namespace {

/// The case without its input `second`, which is `first`; a further input, of zeros, is added to
/// that so that it is a value of the graph and not an input.
OpCase with_one_tensor(const OpCase& c, std::size_t first, std::size_t second) {
  OpCase one = c;
  one.inputs.erase(one.inputs.begin() + static_cast<std::ptrdiff_t>(second));
  one.inputs.push_back(c.inputs[first]);
  one.build = [build = c.build, first, second](Graph& g, const std::vector<Tensor>& t) {
    std::vector<Tensor> all(t.begin(), t.end() - 1);
    all[first] = add(g, t[first], t.back());
    all.insert(all.begin() + static_cast<std::ptrdiff_t>(second), all[first]);
    return build(g, all);
  };
  return one;
}

}  // namespace

std::vector<std::pair<std::size_t, std::size_t>> inputs_of_one_shape(const OpCase& c) {
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  for (std::size_t second = 1; second < c.inputs.size(); ++second)
    for (std::size_t first = 0; first < second; ++first)
      if (c.inputs[first] == c.inputs[second]) pairs.emplace_back(first, second);
  return pairs;
}

template <class T>
double error_where_inputs_are_one(const OpCase& c, std::pair<std::size_t, std::size_t> inputs,
                                  Placement placement) {
  const auto [first, second] = inputs;
  const auto at_second = static_cast<std::ptrdiff_t>(second);
  std::vector<HostTensor> numbers = case_inputs(c, 5);
  numbers[second] = numbers[first];
  CaseResult apart = run_case<T>(c, numbers, 1, 0, true, placement);
  numbers.erase(numbers.begin() + at_second);
  numbers.push_back(numbers[first]);
  std::fill(numbers.back().data.begin(), numbers.back().data.end(), 0.0);
  const CaseResult one =
      run_case<T>(with_one_tensor(c, first, second), numbers, 1, 0, true, placement);
  const double scale = 0.01 * apart.gradient_scale();
  for (std::size_t i = 0; i < apart.gradients[first].size(); ++i)
    apart.gradients[first][i] += apart.gradients[second][i];
  apart.gradients.erase(apart.gradients.begin() + at_second);
  double error = 0;
  const auto see = [&error](double seen) {
    if (!(seen <= error)) error = seen;
  };
  for (std::size_t k = 0; k < apart.outputs.size(); ++k)
    see(relative_error(one.outputs[k], apart.outputs[k]));
  for (std::size_t k = 0; k < apart.gradients.size(); ++k)
    see(relative_error(one.gradients[k], apart.gradients[k], scale));
  return error;
}

template double error_where_inputs_are_one<float>(const OpCase&,
                                                  std::pair<std::size_t, std::size_t>, Placement);
template double error_where_inputs_are_one<double>(const OpCase&,
                                                   std::pair<std::size_t, std::size_t>, Placement);

}  // namespace recallbench::testing
