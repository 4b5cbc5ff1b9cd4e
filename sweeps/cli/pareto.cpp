#include <fmt/format.h>

#include <memory>

#include "analysis/report.h"
#include "kernels/base/error.h"
#include "sweeps/cli/cli.h"

namespace recallbench {
namespace {

struct ParetoOptions {
  std::vector<std::string> results;
  std::string x = "measured";
  std::string y = "test";
  bool csv = false;
};

int pareto(const ParetoOptions& options, const CommonOptions& common) {
  if (common.json && options.csv)
    fail(ErrorKind::usage, "pareto", "--json and --csv exclude each other; give one");
  const StateAxis axis = options.x == "published" ? StateAxis::published : StateAxis::measured;
  const Frontier frontier = compute_frontier(load_summaries(options.results), axis, options.y);
  if (common.json)
    fmt::print("{}", frontier_json(frontier));
  else if (options.csv)
    fmt::print("{}", to_csv(frontier_table(frontier)));
  else
    fmt::print("{}", frontier_text(frontier));
  return kDone;
}

}  // namespace

void add_pareto(CommandLine& line) {
  CLI::App* command =
      line.app.add_subcommand("pareto", "Print the Pareto frontier of state size and accuracy");
  auto options = std::make_shared<ParetoOptions>();
  command
      ->add_option("RESULTS", options->results,
                   "sweep folders (results/<sweep>) or summary.csv files; several are merged")
      ->required();
  command
      ->add_option("--x", options->x, "state as measured by decoding, or by the published formulas")
      ->check(CLI::IsMember({"measured", "published"}))
      ->type_name("AXIS");
  command->add_option("--y", options->y, "test, valid, or an accuracy column of summary.csv")
      ->type_name("COLUMN");
  command->add_flag("--csv", options->csv, "print frontier.csv");
  command->footer(
      "Examples:\n"
      "  recallbench pareto results/demo\n"
      "  recallbench pareto results/demo --csv > frontier.csv\n"
      "  recallbench pareto results/a results/b --json");
  command->callback([&line, options] {
    line.action = [&line, options] { return pareto(*options, line.common); };
  });
}

}  // namespace recallbench
