#include "analysis/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "analysis/report.h"
#include "kernels/base/error.h"
#include "sweeps/cli/cli.h"

namespace recallbench {
namespace {

struct CompareOptions {
  std::vector<std::string> results;
  std::string published;  ///< "": those that come along
  double tolerance = 0.03;
  bool csv = false;
};

int compare(const CompareOptions& options, const CommonOptions& common) {
  if (common.json && options.csv)
    fail(ErrorKind::usage, "compare", "--json and --csv exclude each other; give one");
  const std::string file = options.published.empty() ? default_published_file() : options.published;
  const std::vector<ComparedPoint> points = compare_with_published(
      select_points(load_summaries(options.results)), load_published(file), options.tolerance);
  if (points.empty())
    fail(ErrorKind::usage, "compare",
         "none of the models, tested up to 1024 tokens as the published ones were, has a published "
         "point of its family with its state size; look at "
         "`recallbench pareto --x published`, or give other points with --published");
  const Table table = comparison_table(points);
  if (common.json)
    fmt::print("{}", to_json(table).indented());
  else if (options.csv)
    fmt::print("{}", to_csv(table));
  else
    fmt::print("{}", to_text(table));
  const auto held = std::count_if(points.begin(), points.end(),
                                  [](const ComparedPoint& point) { return point.holds; });
  if (!common.quiet)
    fmt::print(stderr, "{} of {} points are within {} of the published accuracy, or above it\n",
               held, points.size(), options.tolerance);
  return held == static_cast<std::ptrdiff_t>(points.size()) ? kDone : kSomeFailed;
}

}  // namespace

void add_compare(CommandLine& line) {
  CLI::App* command =
      line.app.add_subcommand("compare", "Which points of a sweep hold against published ones");
  auto options = std::make_shared<CompareOptions>();
  command
      ->add_option("RESULTS", options->results,
                   "sweep folders (results/<sweep>) or summary.csv files; several are merged")
      ->required();
  command
      ->add_option("--published", options->published,
                   "CSV with series, state_size_bytes, accuracy (default: the points that come "
                   "along)")
      ->type_name("FILE");
  command
      ->add_option("--tolerance", options->tolerance,
                   "how far below the published accuracy a point may lie (default: 0.03)")
      ->check(CLI::Range(0.0, 1.0));
  command->add_flag("--csv", options->csv, "print CSV");
  command->footer(
      "Examples:\n"
      "  recallbench compare results/based-figure2\n"
      "  recallbench compare results/measured/based-figure2/summary.csv --tolerance 0.01\n"
      "Exit code 1 where a point does not hold.");
  command->callback([&line, options] {
    line.action = [&line, options] { return compare(*options, line.common); };
  });
}

}  // namespace recallbench
