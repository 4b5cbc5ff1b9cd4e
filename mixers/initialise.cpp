#include "mixers/initialise.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace recallbench {

Initialise torch_default(Index fan_in) {
  return uniform(1 / std::sqrt(static_cast<double>(fan_in)));
}

Initialise inverse_softplus(double low, double high, double floor) {
  return [=](std::span<double> values, RandomStream& random) {
    uniform(1)(values, random);
    const double centre = (std::log(high) + std::log(low)) / 2;
    const double reach = (std::log(high) - std::log(low)) / 2;
    for (double& v : values) {
      const double dt = std::max(std::exp(centre + reach * v), floor);
      v = dt + std::log(-std::expm1(-dt));
    }
  };
}

Initialise position_features(Index l_max, Index bands, bool zoology) {
  return [=](std::span<double> z, RandomStream&) {
    const double last = static_cast<double>(bands - 1);
    for (Index t = 0; t < l_max; ++t) {
      double* row = z.data() + (1 + 2 * bands) * t;
      row[0] = l_max > 1 ? static_cast<double>(t) / static_cast<double>(l_max - 1) : 0;
      for (Index i = 0; i < bands; ++i) {
        const double at = bands > 1 ? static_cast<double>(i) / last : 0;
        const double frequency = zoology ? 1e-4 + at * (last - 1e-4) : static_cast<double>(i + 1);
        const double angle =
            frequency * 2 * std::numbers::pi * static_cast<double>(t) / static_cast<double>(l_max);
        row[1 + i] = std::cos(angle);
        row[1 + bands + i] = -std::sin(angle);
      }
    }
  };
}

}  // namespace recallbench
