#include "analysis/compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>

#include "analysis/expected.h"
#include "analysis/report.h"
#include "analysis/task_names.h"
#include "kernels/base/error.h"
#include "kernels/base/text.h"
#include "sweeps/cli/cli.h"
#include "sweeps/cli/number_in.h"
#include "sweeps/config/recipe.h"
#include "sweeps/store/labels.h"

namespace recallbench {
namespace {

struct CompareOptions {
  std::vector<std::string> results;
  std::string expected;   ///< "": the file beside the recipe
  std::string published;  ///< "": not asked for
  std::optional<double> tolerance;
  bool csv = false;
};

void print_table(const Table& table, const CompareOptions& options, const CommonOptions& common) {
  if (common.json)
    fmt::print("{}", to_json(table).indented());
  else if (options.csv)
    fmt::print("{}", to_csv(table));
  else
    fmt::print("{}", to_text(table));
}

/// Where rows of several tasks are held against points that do not say of which task they are.
void note_tasks(const std::vector<SummaryRow>& rows, const CommonOptions& common) {
  std::vector<std::string> tasks;
  for (const SummaryRow& row : rows)
    if (std::find(tasks.begin(), tasks.end(), row.task) == tasks.end()) tasks.push_back(row.task);
  if (common.quiet || tasks.size() < 2) return;
  fmt::print(stderr,
             "note: results of {} tasks are together, and the best of each model counts: {}\n",
             tasks.size(), fmt::join(task_names(tasks), "; "));
}

/// How the task of the published points differs from that of the rows that are held against them.
void note_differences(const std::vector<SummaryRow>& rows, const CommonOptions& common) {
  if (common.quiet) return;
  for (const std::string& difference : differences_from_published(rows, "test"))
    fmt::print(stderr, "note: published points are of another task: {}\n", difference);
}

int compare_published(const std::vector<SummaryRow>& rows, const CompareOptions& options,
                      const CommonOptions& common) {
  constexpr double kTolerance = 0.03;
  const double tolerance = options.tolerance.value_or(kTolerance);
  const std::string file = options.published.empty() ? default_published_file() : options.published;
  const std::vector<ComparedPoint> points =
      compare_with_published(select_points(rows), load_published(file), tolerance);
  if (points.empty()) {
    std::int64_t longest = 0;
    for (const SummaryRow& row : rows)
      longest = std::max(longest, row.state_length.value_or(0));
    fail(ErrorKind::usage, "compare",
         "no model has a published point, which takes a test of up to {} tokens (here: up to {}), "
         "its family's name and its state size; look at `recallbench pareto --x published`, or "
         "give other points with --published or --expected",
         kPublishedLength, longest);
  }
  print_table(comparison_table(points), options, common);
  std::vector<SummaryRow> compared;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(compared),
               [](const SummaryRow& row) { return row.state_length == kPublishedLength; });
  note_tasks(compared, common);
  if (options.published.empty()) note_differences(compared, common);
  const auto held = std::count_if(points.begin(), points.end(),
                                  [](const ComparedPoint& point) { return point.holds; });
  if (!common.quiet)
    fmt::print(stderr, "{} of {} points are within {} of the published accuracy, or above it\n",
               held, points.size(), tolerance);
  return held == static_cast<std::ptrdiff_t>(points.size()) ? kDone : kSomeFailed;
}

/// The expected points of one sweep, and the file they come from.
struct Expectation {
  std::string sweep, file;
  std::vector<ExpectedPoint> points;
};

std::vector<Expectation> expectations(const std::vector<SummaryRow>& rows,
                                      const CompareOptions& options) {
  std::set<std::string> sweeps;
  for (const SummaryRow& row : rows)
    sweeps.insert(row.sweep);
  std::vector<Expectation> all;
  if (!options.expected.empty()) {
    const std::string name = sweeps.size() == 1 ? *sweeps.begin() : "";
    return {{name, options.expected, load_expected(options.expected)}};
  }
  for (const std::string& sweep : sweeps)
    if (const auto file = expected_file(sweep)) all.push_back({sweep, *file, load_expected(*file)});
  return all;
}

/// The rows that were trained and tested on the data of the sweep's recipe, which comes with the
/// program: overrides may have changed them.
std::vector<SummaryRow> rows_of_task(const std::vector<SummaryRow>& rows,
                                     const std::string& sweep) {
  const Recipe recipe = load_recipe(recipe_file(sweep).value());
  const std::vector<std::string> texts = make_labels(recipe.runs).task;
  const std::set<std::string> tasks(texts.begin(), texts.end());
  std::vector<SummaryRow> kept;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(kept),
               [&](const SummaryRow& row) { return tasks.count(row.task) != 0; });
  return kept;
}

std::size_t count(const std::vector<JudgedPoint>& points, Verdict verdict) {
  return static_cast<std::size_t>(
      std::count_if(points.begin(), points.end(),
                    [&](const JudgedPoint& point) { return point.verdict == verdict; }));
}

/// Judges every sweep by its own expectations. Done where no point is below its tolerance and some
/// point was measured.
int compare_expected(const std::vector<SummaryRow>& rows,
                     const std::vector<Expectation>& expectations, const CompareOptions& options,
                     const CommonOptions& common) {
  Table table = judgement_table("", {});
  bool all_hold = true;
  std::string counts;
  for (const Expectation& expectation : expectations) {
    if (expectation.points.empty())
      fail(ErrorKind::usage, "compare",
           "{} holds no point: no accuracy of this recipe is published or measured yet; give some "
           "with --expected or --published",
           printable(expectation.file));
    std::vector<ExpectedPoint> expected = expectation.points;
    for (ExpectedPoint& point : expected)
      point.tolerance = options.tolerance.value_or(point.tolerance);
    const bool own = options.expected.empty();
    const std::vector<SummaryRow> kept = own ? rows_of_task(rows, expectation.sweep) : rows;
    const std::vector<JudgedPoint> judged = judge(select_points(kept), expected);
    for (auto& row : judgement_table(expectation.sweep, judged).rows)
      table.rows.push_back(std::move(row));
    const std::size_t missing = count(judged, Verdict::missing);
    const std::size_t below = count(judged, Verdict::below);
    all_hold = all_hold && below == 0 && missing < judged.size();
    counts += fmt::format(
        "{}{} of {} expected points hold ({} above), {} below, {} missing{}\n",
        expectation.sweep.empty() ? "" : printable(expectation.sweep) + ": ",
        judged.size() - below - missing, judged.size(), count(judged, Verdict::above), below,
        missing,
        kept.size() < rows.size()
            ? fmt::format("; {} runs on other data are left out", rows.size() - kept.size())
            : "");
  }
  print_table(table, options, common);
  if (!options.expected.empty()) note_tasks(rows, common);
  if (!common.quiet) fmt::print(stderr, "{}", counts);
  return all_hold ? kDone : kSomeFailed;
}

int compare(const CompareOptions& options, const CommonOptions& common) {
  if (common.json && options.csv)
    fail(ErrorKind::usage, "compare", "--json and --csv exclude each other; give one");
  if (!options.expected.empty() && !options.published.empty())
    fail(ErrorKind::usage, "compare", "--expected and --published exclude each other; give one");
  const std::vector<SummaryRow> rows = load_summaries(options.results);
  if (!options.published.empty()) return compare_published(rows, options, common);
  const std::vector<Expectation> found = expectations(rows, options);
  if (found.empty()) return compare_published(rows, options, common);
  return compare_expected(rows, found, options, common);
}

}  // namespace

void add_compare(CommandLine& line) {
  CLI::App* command = line.app.add_subcommand(
      "compare", "Which points of a sweep hold against expected or published ones");
  auto options = std::make_shared<CompareOptions>();
  command
      ->add_option("RESULTS", options->results,
                   "sweep folders (results/<sweep>) or summary.csv files; several are merged")
      ->required();
  command
      ->add_option("--expected", options->expected,
                   "CSV with the points that should be reached (default: <recipe>.expected.csv "
                   "beside the recipe; where it has none, the published points)")
      ->type_name("FILE");
  command
      ->add_option("--published", options->published,
                   "CSV with series, state_size_bytes, accuracy, to compare with instead")
      ->type_name("FILE");
  command
      ->add_option("--tolerance", options->tolerance,
                   "how far below it a point may lie (default: the point's own; 0.03 against "
                   "published ones)")
      ->check(number_in(0.0, 1.0));
  command->add_flag("--csv", options->csv, "print CSV");
  command->footer(
      "Examples:\n"
      "  recallbench compare results/based-figure2\n"
      "  recallbench compare results/measured/based-figure2/summary.csv --tolerance 0.01\n"
      "Exit code 1 where a point is below its tolerance, or none is there.");
  command->callback([&line, options] {
    line.action = [&line, options] { return compare(*options, line.common); };
  });
}

}  // namespace recallbench
