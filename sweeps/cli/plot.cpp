#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "analysis/compare.h"
#include "analysis/report.h"
#include "kernels/base/error.h"
#include "kernels/base/io/atomic_file.h"
#include "kernels/base/text.h"
#include "sweeps/cli/cli.h"

namespace recallbench {
namespace {

struct PlotOptions {
  std::vector<std::string> results;
  std::string out;
  std::string x = "measured";
  std::string y = "test";
  std::string title;
  std::string formats = fmt::format("{}", fmt::join(kFigureFormats, ","));
  std::string published;
  bool wants_published = false;
};

std::vector<std::string> formats_of(const std::string& list) {
  std::vector<std::string> formats;
  for (const std::string_view entry : split(list, ',')) {
    const std::string format(trimmed(entry));
    if (std::count(kFigureFormats.begin(), kFigureFormats.end(), format) == 0)
      fail(ErrorKind::usage, "plot", "--format is a list of {}, not {}",
           fmt::join(kFigureFormats, ", "), in_quotes(list));
    if (std::find(formats.begin(), formats.end(), format) == formats.end())
      formats.push_back(format);
  }
  return formats;
}

/// The folder of the only result, or what --out says.
std::string out_folder(const PlotOptions& options) {
  namespace fs = std::filesystem;
  if (!options.out.empty()) {
    make_directories(options.out);
    return options.out;
  }
  if (options.results.size() > 1)
    fail(ErrorKind::usage, "plot", "{} results are drawn together; say where to: --out DIR",
         options.results.size());
  const fs::path result = options.results.front();
  std::error_code error;
  if (fs::is_directory(result, error)) return result.string();
  return result.has_parent_path() ? result.parent_path().string() : ".";
}

/// `--published DIR` is `--published` followed by one more result.
void untangle_published(PlotOptions& options) {
  std::error_code error;
  if (!options.wants_published || !std::filesystem::is_directory(options.published, error)) return;
  options.results.push_back(options.published);
  options.published.clear();
}

int plot(PlotOptions options, const CommonOptions& common) {
  untangle_published(options);
  if (options.results.empty())
    fail(ErrorKind::usage, "plot", "give one or more sweep folders or CSV files: results/demo");
  FigureOptions figure;
  figure.title = options.title;
  figure.formats = formats_of(options.formats);
  if (options.wants_published)
    figure.published =
        load_published(options.published.empty() ? default_published_file() : options.published);
  const StateAxis axis = options.x == "published" ? StateAxis::published : StateAxis::measured;
  const std::vector<SummaryRow> rows = load_summaries(options.results);
  Frontier frontier = compute_frontier(rows, axis, options.y);
  if (options.wants_published && options.published.empty())
    for (const std::string& difference : differences_from_published(rows, frontier.column)) {
      frontier.notes.push_back("published points are of another task: " + difference);
      figure.published_differ = true;
    }
  const ReportFiles report = write_frontier_and_figure(out_folder(options), frontier, figure);
  frontier.notes.insert(frontier.notes.end(), report.notes.begin(), report.notes.end());
  if (common.json) {
    Json document;
    document["files"] = Json::list(report.files);
    document["notes"] = Json::list(frontier.notes);
    fmt::print("{}", document.indented());
  } else {
    for (const std::string& file : report.files)
      fmt::print("{}\n", printable(file, 4096));
  }
  if (!common.quiet)
    for (const std::string& note : frontier.notes)
      fmt::print(stderr, "note: {}\n", note);
  if (report.figure_problem.empty()) return kDone;
  fmt::print(stderr, "{}\n", report.figure_problem);
  return kResults;
}

}  // namespace

void add_plot(CommandLine& line) {
  CLI::App* command =
      line.app.add_subcommand("plot", "Draw state size against accuracy, with the Pareto frontier");
  auto options = std::make_shared<PlotOptions>();
  command->add_option("RESULTS", options->results,
                      "sweep folders (results/<sweep>) or summary.csv files; several are merged");
  command->add_option("--out", options->out, "folder for the figure (default: that of RESULTS)")
      ->type_name("DIR");
  command
      ->add_option("--x", options->x, "state as measured by decoding, or by the published formulas")
      ->check(CLI::IsMember({"measured", "published"}))
      ->type_name("AXIS");
  command->add_option("--y", options->y, "test, valid, or an accuracy column of summary.csv")
      ->type_name("COLUMN");
  CLI::Option* published = command
                               ->add_option("--published", options->published,
                                            "add published points (default: those that come along)")
                               ->expected(0, 1)
                               ->type_name("[FILE]");
  command->add_option("--title", options->title, "title (default: the sweep's name)")
      ->type_name("TEXT");
  command
      ->add_option("--format", options->formats,
                   fmt::format("any of {} (default: all)", options->formats))
      ->type_name("LIST");
  command->footer(
      "Examples:\n"
      "  recallbench plot results/demo\n"
      "  recallbench plot results/based-figure2 --x published --published\n"
      "  recallbench plot results/a results/b --out figures --y test/num_kv_pairs/accuracy-16");
  command->callback([&line, options, published] {
    options->wants_published = published->count() > 0;
    line.action = [&line, options] { return plot(*options, line.common); };
  });
}

}  // namespace recallbench
