#include <fmt/format.h>

#include <memory>

#include "sweeps/cli/number_in.h"
#include "sweeps/cli/sweep_command.h"

namespace recallbench {

void add_sweep_arguments(CLI::App* command, SweepArguments& arguments) {
  command
      ->add_option("RECIPE", arguments.recipe,
                   "a recipe's name (recallbench list recipes) or TOML file")
      ->required();
  command
      ->add_option("OVERRIDES", arguments.overrides,
                   "dotted.key=value, over what the recipe says; a,b,c makes an axis")
      ->type_name("KEY=VALUE");
  command
      ->add_option("--models", arguments.models,
                   "train these models of the recipe alone, by name (default: all)")
      ->type_name("NAME,...");
  command->add_option("--out", arguments.out, "results folder (default: results/<name>)")
      ->type_name("DIR");
  command
      ->add_option("--jobs", arguments.jobs,
                   "cores to use (default: all): one a run, more where fewer runs are left")
      ->check(number_in(1, 4096))
      ->type_name("N");
  command
      ->add_option("--population", arguments.population,
                   "most runs of one shape that train together (default: as many as pay)")
      ->check(number_in(1, 1024))
      ->type_name("R");
  command
      ->add_option("--run-timeout", arguments.run_timeout_s,
                   "stop a run after so many seconds and count it as failed (default: never)")
      ->check(number_in(0.001, 1e9))
      ->type_name("S");
  command->add_flag("--dry-run", arguments.dry_run, "show what would be trained");
  command->add_flag("--record-host", arguments.record_host, "put the host's name into timing.json");
}

void add_sweep(CommandLine& line) {
  CLI::App* command =
      line.app.add_subcommand("sweep", "Train every run of a recipe; run again to resume");
  const auto arguments = std::make_shared<SweepArguments>();
  add_sweep_arguments(command, *arguments);
  command
      ->add_option("--max-runs", arguments->max_runs,
                   fmt::format("refuse recipes that come to more runs (default: {})", kMaxRuns))
      ->check(number_in(std::int64_t{1}, std::int64_t{10'000'000}))
      ->type_name("N");
  command->add_flag("--no-plot", arguments->no_plot, "make the tables, but no figure");
  command->footer(
      "Examples:\n"
      "  recallbench sweep demo\n"
      "  recallbench sweep demo train.lr=1e-3,1e-2 --out results/two-rates --dry-run\n"
      "  recallbench sweep my-recipe.toml --jobs 4 --run-timeout 3600\n"
      "  recallbench sweep based-figure2 --device cuda --models attention,based seed=1");
  command->callback([&line, arguments] {
    line.action = [&line, arguments] { return sweep_command(*arguments, line.common); };
  });
}

}  // namespace recallbench
