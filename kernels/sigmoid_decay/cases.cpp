#include <cmath>

#include "kernels/graph/op_case.h"
#include "kernels/sigmoid_decay/reference.h"
#include "kernels/sigmoid_decay/sigmoid_decay.h"

namespace recallbench {
namespace {

OpCase sigmoid_decay_case(const SigmoidDecayOptions& options, double scale, Index cols = 11) {
  OpCase c;
  c.name = fmt::format("sigmoid_decay/cols={},divisor={},lower_bound={},clamp_min={},scale={}",
                       cols, options.divisor, options.lower_bound, options.clamp_min, scale);
  c.inputs = {{9, cols}};
  c.scale = scale;
  c.build = [options](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{sigmoid_decay(g, t[0], options)};
  };
  c.reference = [options](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor y = t[0];
    for (double& x : y.data)
      x = sigmoid_decay_reference(x, options);
    return std::vector<HostTensor>{y};
  };
  return c;
}

OpCase bounded_case(double scale) {
  OpCase c = sigmoid_decay_case({}, scale);
  c.name = fmt::format("bounded_decay/scale={}", scale);
  c.build = [](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{bounded_decay(g, t[0], 0.6)};
  };
  c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor y = t[0];
    for (double& x : y.data)
      x = -0.6 / (1 + std::exp(-x));
    return std::vector<HostTensor>{y};
  };
  return c;
}

/// Of a decay whose logarithm itself is computed, so that it is at most 0.
OpCase complement_case() {
  OpCase c = sigmoid_decay_case({}, 3.0);
  c.name = "decay_complement";
  c.build = [](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{decay_complement(g, sigmoid_decay(g, t[0], {}))};
  };
  c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
    HostTensor y = t[0];
    for (double& x : y.data)
      x = 1 - 1 / (1 + std::exp(-x));
    return std::vector<HostTensor>{y};
  };
  return c;
}

}  // namespace

void append_sigmoid_decay_cases(std::vector<OpCase>& cases) {
  for (const double scale : {1.0, 30.0}) {
    cases.push_back(sigmoid_decay_case({}, scale));
    cases.push_back(sigmoid_decay_case({.divisor = 16.0}, scale));
    cases.push_back(sigmoid_decay_case({.lower_bound = 0.3}, scale));
    cases.push_back(sigmoid_decay_case({.divisor = 4.0, .clamp_min = -0.2}, scale));
  }
  cases.push_back(sigmoid_decay_case({}, 1.0, 300));  // more columns than are worked on at once
  for (const double scale : {1.0, 30.0})
    cases.push_back(bounded_case(scale));
  cases.push_back(complement_case());
}

}  // namespace recallbench
