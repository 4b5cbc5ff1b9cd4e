#include "kernels/generalized_delta_rule/reference.h"

#include <cmath>

namespace recallbench {

std::vector<HostTensor> generalized_delta_rule_reference(const std::vector<HostTensor>& t,
                                                         Index heads) {
  const Index length = t[0].shape[1], keys = t[0].shape[2] / heads, values = t[2].shape[2] / heads;
  HostTensor y{t[2].shape, std::vector<double>(t[2].data.size(), 0.0)};
  for (Index item = 0; item < t[0].shape[0] * heads; ++item) {
    std::vector<double> state(static_cast<std::size_t>(keys * values), 0.0);
    for (Index i = 0; i < length; ++i) {
      const Index row = item / heads * length + i;
      const auto at = [&](std::size_t input, Index c) {
        const Index n = t[input].shape[2] / heads;
        return t[input].data[static_cast<std::size_t>((row * heads + item % heads) * n + c)];
      };
      for (Index j = 0; j < values; ++j) {
        double removed = 0;
        for (Index c = 0; c < keys; ++c)
          removed += at(4, c) * state[static_cast<std::size_t>(c * values + j)];
        for (Index c = 0; c < keys; ++c) {
          double& s = state[static_cast<std::size_t>(c * values + j)];
          s = std::exp(at(3, c)) * s - at(4, c) * at(5, c) * removed + at(1, c) * at(2, j);
          y.data[static_cast<std::size_t>((row * heads + item % heads) * values + j)] +=
              s * at(0, c);
        }
      }
    }
  }
  return {y};
}

}  // namespace recallbench
