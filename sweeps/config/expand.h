#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sweeps/config/plan.h"

namespace recallbench {

/// Gives `visit` the tree of every run of the chosen models, variables and overrides put in: models
/// outermost, then the model's grid, the cases, the sweep's grid and last the axes of overrides,
/// the last key fastest. Undeclared and unused variables are errors, of any model; so are more than
/// `max_runs` runs, or runs of very many values, which are counted first. An error with several
/// models chosen, what `visit` throws too, says which it is about: where something is overridden,
/// all that have one.
void expand(const Plan& plan, std::int64_t max_runs,
            const std::function<void(const std::string& model_name, const Node& tree)>& visit);

}  // namespace recallbench
