#pragma once

#include "kernels/base/options.h"
#include "kernels/graph/parameters.h"

namespace recallbench {

/// The options `dt_min`, `dt_max` and `dt_init_floor` of Mamba and Mamba-2: how their step sizes,
/// before softplus, start.
Initialise read_step_sizes(Options& options);

}  // namespace recallbench
