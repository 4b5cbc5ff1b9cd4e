#pragma once

#include <set>
#include <string>
#include <vector>

#include "sweeps/config/node.h"

namespace recallbench {

/// A variable and the values that it takes in turn.
struct Axis {
  std::string name;
  Place place;
  List values;
};

/// One entry of [[sweep.cases]]: coupled variables, and tables that are laid over [task], [model]
/// and [train].
struct CasePlan {
  Place place;
  Table variables;
  Table tables;
};

/// One entry of [[sweep.models]]: keys laid over [model], and a grid of its own.
struct ModelPlan {
  std::string name;  ///< empty for the lone [model] of a recipe without [[sweep.models]]
  Place place;
  Table keys;
  std::vector<Axis> grid;
  bool chosen = true;  ///< its runs are wanted
};

/// "model.layers.1.feature_dim=8", taken apart. `values` has one entry, or several for an axis.
struct PathOverride {
  std::vector<std::string> path;
  Place place;
  List values;
};

/// A recipe taken apart, before any variable has a value. Nothing in `base` is checked yet.
struct Plan {
  std::string name;
  std::string description;
  Place place;  ///< of [sweep], or of the recipe
  Table base;   ///< compat, precision, seed, task, model, train
  std::vector<ModelPlan> models;
  std::vector<CasePlan> cases;
  std::vector<Axis> grid;
  std::vector<PathOverride> overrides;
  std::set<std::string> overridden;  ///< the keys of all overrides, those of variables too
  bool cases_overridden = false;     ///< an override set a variable in all cases
};

/// A recipe's name is a directory under results/: letters, digits, "-", "_" and ".".
void check_recipe_name(const std::string& name, const Place& place);

/// Checks schema, name and the [sweep] table: names of variables, none declared twice, no empty
/// axis, equal variables in all cases.
Plan read_plan(const Node& root);

/// Leaves the models of these names chosen (all, where there are none). Nothing happens to the lone
/// model of a recipe without [[sweep.models]]: its name is known when its mixers are.
void choose_models(Plan& plan, const std::vector<std::string>& names);

/// Throws Error(usage) unless every one of `wanted` is among `known`, the models of recipe `name`.
void check_model_names(const std::string& name, const std::vector<std::string>& wanted,
                       const std::vector<std::string>& known);

/// Takes `dotted.path=value` apart and into the plan. A name without a dot that is a variable
/// replaces the variable's values; every other path is kept in `plan.overrides`. A key is
/// overridden once.
void add_override(Plan& plan, const std::string& text);

/// Sets `path` in `root`; numbers index lists, missing tables are made. What stands in the way (a
/// number where a table should be, an index beyond the end) is an error at `place`. With
/// `stop_at_reference`, a "$variable" in the way ends it silently.
void set_path(Table& root, const PathOverride& change, const Node& value, bool stop_at_reference);

}  // namespace recallbench
