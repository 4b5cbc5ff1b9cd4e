#include "kernels/gated_linear_attention/reference.h"

#include <cmath>

namespace recallbench {
namespace {

/// The inputs by row (example and token), head and number within the head.
struct Inputs {
  Inputs(const std::vector<HostTensor>& inputs, const GatedLinearAttentionOptions& options)
      : t(inputs),
        o(options),
        examples(inputs[0].shape[0]),
        length(inputs[0].shape[1]),
        keys(inputs[0].shape[2] / options.heads),
        values(inputs[2].shape[2] / options.state_heads),
        group(options.heads / options.state_heads) {}

  double at(std::size_t input, Index row, Index column) const {
    return t[input].data[static_cast<std::size_t>(row * t[input].shape[2] + column)];
  }
  double q(Index row, Index head, Index c) const { return at(0, row, head * keys + c); }
  double k(Index row, Index state, Index c) const { return at(1, row, state * keys + c); }
  double v(Index row, Index state, Index c) const { return at(2, row, state * values + c); }
  double log_decay(Index row, Index state, Index c) const {
    return o.constant_decays.empty() ? at(3, row, state * keys + c)
                                     : std::log(o.constant_decays[static_cast<std::size_t>(state)]);
  }
  HostTensor output() const {
    HostTensor y{{examples, length, o.heads * values}, {}};
    y.data.assign(static_cast<std::size_t>(examples * length * o.heads * values), 0);
    return y;
  }
  std::size_t output_at(Index row, Index head, Index c) const {
    return static_cast<std::size_t>((row * o.heads + head) * values + c);
  }

  const std::vector<HostTensor>& t;
  const GatedLinearAttentionOptions& o;
  Index examples, length, keys, values, group;
};

}  // namespace

std::vector<HostTensor> gated_linear_attention_reference(
    const std::vector<HostTensor>& inputs, const GatedLinearAttentionOptions& options) {
  const Inputs in(inputs, options);
  HostTensor y = in.output();
  for (Index e = 0; e < in.examples; ++e)
    for (Index h = 0; h < options.heads; ++h) {
      const Index n = h / in.group;
      std::vector<double> state(static_cast<std::size_t>(in.keys * in.values), 0.0);
      for (Index row = e * in.length; row < (e + 1) * in.length; ++row)
        for (Index c = 0; c < in.keys; ++c)
          for (Index j = 0; j < in.values; ++j) {
            double& s = state[static_cast<std::size_t>(c * in.values + j)];
            s = std::exp(in.log_decay(row, n, c)) * s + in.k(row, n, c) * in.v(row, n, j);
            y.data[in.output_at(row, h, j)] += options.scale * s * in.q(row, h, c);
          }
    }
  return {y};
}

std::vector<HostTensor> gated_linear_attention_sum_reference(
    const std::vector<HostTensor>& inputs, const GatedLinearAttentionOptions& options) {
  const Inputs in(inputs, options);
  HostTensor y = in.output();
  for (Index row = 0; row < in.examples * in.length; ++row)
    for (Index h = 0; h < options.heads; ++h) {
      const Index n = h / in.group;
      std::vector<double> since(static_cast<std::size_t>(in.keys), 0.0);  // Γ_t - Γ_j
      for (Index j = row; j >= row - row % in.length; --j) {
        double weight = 0;
        for (Index c = 0; c < in.keys; ++c) {
          double& sum = since[static_cast<std::size_t>(c)];
          weight += in.q(row, h, c) * in.k(j, n, c) * std::exp(sum);
          sum += in.log_decay(j, n, c);
        }
        for (Index c = 0; c < in.values; ++c)
          y.data[in.output_at(row, h, c)] += options.scale * weight * in.v(j, n, c);
      }
    }
  return {y};
}

}  // namespace recallbench
