#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/figure.h"
#include "analysis/published.h"
#include "analysis/selection.h"
#include "analysis/summary.h"
#include "analysis/table.h"

namespace recallbench {

/// Which state is the x axis: the numbers that the decoder carries, or the reference's formula.
enum class StateAxis { measured, published };

/// A model point and its place on the frontier of its task.
struct FrontierEntry {
  ModelPoint point;
  double state = SummaryRow::kNone;  ///< bytes on the chosen axis; NaN where unknown
  bool on_frontier = false;

  /// Whether it has a place in the figure.
  bool is_drawn() const;
};

/// All models on one task, by rising state, those without state or result last.
struct TaskFrontier {
  std::string task;
  std::string name;  ///< task_names(): a short one that sets it apart from the others
  std::vector<FrontierEntry> entries;

  Choice choice() const;  ///< what was chosen for any of the models
};

/// What result files come to.
struct Frontier {
  StateAxis axis = StateAxis::measured;
  std::string column;                         ///< test, valid or a slice column
  std::vector<TaskFrontier> tasks;            ///< in the order in which they first appear
  std::vector<std::string> sweeps, families;  ///< names, as they first appear
  std::int64_t runs = 0, diverged = 0, failed = 0, seeds = 0;
  std::vector<std::string> notes;  ///< what a reader should know: printable lines

  Choice choice() const;  ///< what was chosen on any of the tasks
};

/// Selection (selection.h) and Pareto frontier, for each task by itself, of "test", "valid" (also
/// by their names in summary.csv, "test/accuracy") or a slice's column. Throws Error(usage) if no
/// run has the column, naming those that there are.
Frontier compute_frontier(const std::vector<SummaryRow>& rows, StateAxis axis = StateAxis::measured,
                          const std::string& column = "test");

/// frontier.csv: every model point with all its digits (results/README.md lists the fields).
Table frontier_table(const Frontier& frontier);

/// The same for people: a table for each task, `*` marks the frontier, then the notes.
std::string frontier_text(const Frontier& frontier);

/// One JSON document: axis, column, counts, notes and the points of frontier_table().
std::string frontier_json(const Frontier& frontier);

struct FigureOptions {
  std::string title;  ///< empty: the sweeps' names
  std::vector<PublishedPoint> published;
  bool published_differ = false;  ///< they are of another task: the figure says so
  std::vector<std::string> formats = kFigureFormats;
  std::chrono::milliseconds tool_limit = kToolLimit;  ///< for gnuplot, each file, and for fc-list
};

/// What was written, and why a figure was not drawn: the first reason (empty if all were).
struct ReportFiles {
  std::vector<std::string> files;  ///< paths
  std::string figure_problem;
  std::vector<std::string> notes;  ///< what figures cannot show, and older ones: printable lines
};

/// The names of the figures' files without their endings, one a task: "frontier", and where there
/// are several tasks "frontier-mqar-vocab_size-512", ...
std::vector<std::string> figure_names(const Frontier& frontier);

/// Writes into the existing folder `directory`: frontier.csv, and for each task a figure as .gp,
/// .tsv and `formats`, with the task's name in title and file name where there are several. Another
/// axis or column than measured and test is part of the name: frontier-valid.csv. All but the
/// drawing throws Error(io); what keeps gnuplot from drawing is returned, and so is which
/// characters of the texts no installed font has, and which figures are an earlier plot's. A
/// gnuplot that hangs is not started again.
ReportFiles write_frontier_and_figure(const std::string& directory, const Frontier& frontier,
                                      const FigureOptions& options);

}  // namespace recallbench
