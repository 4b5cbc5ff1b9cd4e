#include "kernels/delta_rule/reference.h"

#include <cmath>

namespace recallbench {

HostTensor delta_rule_reference(const std::vector<HostTensor>& inputs,
                                const DeltaRuleOptions& options) {
  const HostTensor &q = inputs[0], &k = inputs[1], &v = inputs[2];
  const Index heads = options.heads, keys = q.shape[2] / heads, values = v.shape[2] / heads;
  const auto scalar = [&](std::size_t input, Index row, Index h, double absent) {
    const std::vector<double>& data = inputs[input].data;
    return data.empty() ? absent : data[static_cast<std::size_t>(row * heads + h)];
  };
  HostTensor y = v;
  for (Index b = 0; b < v.shape[0]; ++b) {
    for (Index h = 0; h < heads; ++h) {
      std::vector<double> state(static_cast<std::size_t>(keys * values), 0.0);
      for (Index row = b * v.shape[1]; row < (b + 1) * v.shape[1]; ++row) {
        const double* key = k.data.data() + (row * heads + h) * keys;
        const double* query = q.data.data() + (row * heads + h) * keys;
        const double* value = v.data.data() + (row * heads + h) * values;
        const double decay = std::exp(scalar(4, row, h, 0));
        const double beta = options.beta_scale * scalar(3, row, h, 1);
        for (Index j = 0; j < values; ++j) {
          double error = value[j], read = 0;
          const auto cell = [&](Index i) -> double& {
            return state[static_cast<std::size_t>(i * values + j)];
          };
          for (Index i = 0; i < keys; ++i) {
            cell(i) *= decay;
            error -= cell(i) * key[i];
          }
          for (Index i = 0; i < keys; ++i) {
            cell(i) += beta * key[i] * error;
            read += cell(i) * options.scale * query[i];
          }
          y.data[static_cast<std::size_t>((row * heads + h) * values + j)] = read;
        }
      }
    }
  }
  return y;
}

}  // namespace recallbench
