#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sweeps/config/run_config.h"

namespace recallbench {

/// What a recipe and its overrides come to: the runs in a fixed order, models outermost, then
/// the model's grid, the cases, the sweep's grid and the axes of overrides (last key fastest).
struct Recipe {
  std::string name;
  std::string description;
  std::vector<RunConfig> runs;
};

/// The models of a recipe's runs, each once: those of a model stand together.
std::vector<std::string> model_names(const std::vector<RunConfig>& runs);

/// Most runs that a recipe may mean, unless the caller says otherwise.
inline constexpr std::int64_t kMaxRuns = 100000;

/// Reads a recipe strictly. `source` names it in messages; every error is Error(usage) with
/// `source:line:column`, what was expected, what came and the nearest valid key.
/// `overrides` are "dotted.path=value" in TOML syntax (bare words are strings); a comma list makes
/// a sweep axis, applied to every model. `models` are the names of those that are wanted, none for
/// all: the others have no runs, need no known mixers, and no override need fit them. Mixers, tasks
/// and their parameters are checked against the registries, each model by declaring its parameters,
/// each task by making it.
Recipe parse_recipe(const std::string& toml, const std::string& source,
                    const std::vector<std::string>& overrides = {},
                    std::int64_t max_runs = kMaxRuns, const std::vector<std::string>& models = {});

/// The same for a file, or for the name of a recipe that is installed with the program
/// ("demo", "based-figure2").
Recipe load_recipe(const std::string& path_or_name, const std::vector<std::string>& overrides = {},
                   std::int64_t max_runs = kMaxRuns, const std::vector<std::string>& models = {});

/// The file of the recipe that is installed with the program under this name, whatever is called so
/// in the current folder.
std::optional<std::string> recipe_file(const std::string& name);

/// Every recipe that load_recipe knows by name.
struct RecipeInfo {
  std::string name, path;
  std::string description;  ///< its key of this name; "" where it has none
  std::string problem;      ///< why it cannot be read; "" where it can
};
std::vector<RecipeInfo> known_recipes();

/// `<name>.expected.csv` beside recipe_file(name): the accuracies that its models should reach
/// (analysis/expected.h). None where there is no such recipe or file.
std::optional<std::string> expected_file(const std::string& name);

/// `model.toml` of `recallbench forward`: a lone `[model]` table (compat inside it).
ModelConfig parse_model_config(const std::string& toml, const std::string& source);
ModelConfig load_model_config(const std::string& path);

}  // namespace recallbench
