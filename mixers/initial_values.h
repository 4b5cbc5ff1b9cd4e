#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/graph/parameters.h"

namespace recallbench {

/// Biases whose softplus, a step size, is log-uniform in [low, high], but at least `floor`.
inline Initialise inverse_softplus(double low, double high, double floor) {
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

}  // namespace recallbench
