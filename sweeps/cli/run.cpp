#include <memory>

#include "sweeps/cli/sweep_command.h"

namespace recallbench {

void add_run(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand("run", "Train one configuration, on all cores");
  const auto arguments = std::make_shared<SweepArguments>();
  add_sweep_arguments(command, *arguments);
  command->footer(
      "Examples:\n"
      "  recallbench run my-model.toml\n"
      "  recallbench run my-model.toml train.lr=3e-3 seed=2\n"
      "  recallbench run my-model.toml --json\n"
      "  recallbench run demo --models attention d_model=32");
  command->callback([&line, arguments] {
    line.action = [&line, arguments] { return run_command(*arguments, line.common); };
  });
}

}  // namespace recallbench
