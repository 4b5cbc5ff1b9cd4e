#pragma once

#include <string>
#include <vector>

#include "sweeps/config/plan.h"

namespace recallbench {

/// The paths of all options that the mixers and tasks of a recipe have, as an override takes them:
/// "model.layers.1.num_heads". Each once, though a model of several may lack it.
std::vector<std::string> option_paths(const Plan& plan);

}  // namespace recallbench
