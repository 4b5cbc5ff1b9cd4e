#include "kernels/sigmoid_decay/reference.h"

#include <algorithm>
#include <cmath>

namespace recallbench {

double sigmoid_decay_reference(double x, const SigmoidDecayOptions& o) {
  const double sigmoid = 1 / (1 + std::exp(-x));
  return std::max(std::log(o.lower_bound + (1 - o.lower_bound) * sigmoid) / o.divisor, o.clamp_min);
}

}  // namespace recallbench
