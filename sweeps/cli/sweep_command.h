#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sweeps/cli/cli.h"
#include "sweeps/config/recipe.h"

namespace recallbench {

/// The arguments of `sweep` and `run`.
struct SweepArguments {
  std::string recipe;
  std::vector<std::string> overrides;
  std::optional<std::string> models;  ///< names of [[sweep.models]], with commas between
  std::string out;                    ///< "": results/<name>
  int jobs = 0;                       ///< 0: all cores
  std::int64_t population = 0;        ///< most runs that train together; 0: as measured to pay
  std::int64_t max_runs = kMaxRuns;
  double run_timeout_s = 0;  ///< 0: none
  bool dry_run = false;
  bool no_plot = false;
  bool record_host = false;
};

/// Adds the arguments that both have.
void add_sweep_arguments(CLI::App* command, SweepArguments& arguments);

/// `recallbench sweep`: every run of the recipe, then summary, frontier and figure.
int sweep_command(const SweepArguments& arguments, const CommonOptions& common);

/// `recallbench run`: a recipe that comes to exactly one run.
int run_command(const SweepArguments& arguments, const CommonOptions& common);

}  // namespace recallbench
