#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sweeps/config/plan.h"

namespace recallbench {

/// Gives `visit` the tree of every run, variables and overrides put in: models outermost, then the
/// model's grid, the cases, the sweep's grid and last the axes of overrides, the last key fastest.
/// Undeclared and unused variables are errors; so are more than `max_runs` runs, which are counted
/// first.
void expand(const Plan& plan, std::int64_t max_runs,
            const std::function<void(const std::string& model_name, const Node& tree)>& visit);

}  // namespace recallbench
