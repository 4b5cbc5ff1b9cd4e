#pragma once

#include <string>
#include <vector>

#include "sweeps/config/run_config.h"

namespace recallbench {

/// What a recipe and its overrides come to: the runs in a fixed order, models outermost, then
/// cases, then the grid (last key fastest).
struct Recipe {
  std::string name;
  std::string description;
  std::vector<RunConfig> runs;
};

/// Reads a recipe strictly. `source` names it in messages; every error is Error(usage) with
/// `source:line:column`, what was expected, what came and the nearest valid key.
/// `overrides` are "dotted.path=value" in TOML syntax (bare words are strings); a comma list makes
/// a sweep axis, applied to every model. Mixers, tasks and their parameters are checked against
/// the registries, each model by declaring its parameters, each task by making it.
Recipe parse_recipe(const std::string& toml, const std::string& source,
                    const std::vector<std::string>& overrides);

/// The same for a file, or for the name of a recipe that is installed with the program
/// ("demo", "based-figure2").
Recipe load_recipe(const std::string& path_or_name, const std::vector<std::string>& overrides);

/// Name, path and first comment line of every recipe that load_recipe knows by name.
struct RecipeInfo {
  std::string name, path, description;
};
std::vector<RecipeInfo> known_recipes();

/// `model.toml` of `recallbench forward`: a lone `[model]` table (compat inside it).
ModelConfig load_model_config(const std::string& path);

}  // namespace recallbench
