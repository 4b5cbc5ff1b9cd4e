#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sweeps/config/run_config.h"

namespace recallbench {

/// What runs take that all go through all their epochs: good for "minutes or hours", not for more.
struct Estimate {
  double operations = 0;  ///< of floating point, as estimated_work counts them
  double seconds = 0;     ///< from the first run to the end of the last
  std::string where;      ///< "on 2 cores", "on a GPU such as the H200"
};

/// On one kind of CPU, with AVX-512.
Estimate estimate_on_cores(const std::vector<RunConfig>& runs, int cores);

/// On GPUs as fast as the H200, by tf32: within a factor of 2 for most models that were measured
/// there. `population` says how many runs of a shape train
/// together, as for DriverOptions.
Estimate estimate_on_gpus(const std::vector<RunConfig>& runs, int gpus,
                          const std::function<std::int64_t(const RunConfig&)>& population);

}  // namespace recallbench
