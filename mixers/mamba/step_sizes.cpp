#include "mixers/mamba/step_sizes.h"

#include "mixers/initialise.h"

namespace recallbench {

Initialise read_step_sizes(Options& o) {
  const double low = o.number("dt_min", 0.001, 1e-12, 1e3, "smallest initial step size");
  const double high = o.number("dt_max", 0.1, 1e-12, 1e3, "largest initial step size");
  if (high < low) o.reject("dt_max", fmt::format("must be at least dt_min = {}", low));
  const double floor =
      o.number("dt_init_floor", 1e-4, 1e-12, 1e3, "no initial step size lies below");
  return inverse_softplus(low, high, floor);
}

}  // namespace recallbench
