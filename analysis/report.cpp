#include "analysis/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "analysis/characters.h"
#include "analysis/frontier.h"
#include "analysis/task_names.h"
#include "kernels/base/error.h"
#include "kernels/base/names.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

constexpr std::size_t kMostNames = 8;     // that a note lists
constexpr double kStateTolerance = 0.05;  // between measured and published state

/// The end of a message about a column that is not `known`.
std::string column_hint(const std::string& column, const std::vector<std::string>& known) {
  const std::string test = "test/" + column, valid = "valid/" + column;
  const bool lacks_split = std::count(known.begin(), known.end(), test) != 0 &&
                           std::count(known.begin(), known.end(), valid) != 0;
  return lacks_split ? fmt::format("; did you mean '{}' or '{}'?", test, valid)
                     : hint_for(column, known);
}

void require_column(const std::vector<SummaryRow>& rows, const std::string& column) {
  std::set<std::string> slices;
  for (const SummaryRow& row : rows)
    for (const auto& [name, accuracy] : row.slices)
      slices.insert(name);
  if (column == "test" || column == "valid" || slices.count(column) != 0) return;
  std::vector<std::string> known = {"test/accuracy", "valid/accuracy"};
  known.insert(known.end(), slices.begin(), slices.end());
  fail(ErrorKind::usage, "results", "there is no column {} to draw{}", in_quotes(column),
       column_hint(column, known));
}

double state_of(const ModelPoint& point, StateAxis axis) {
  return axis == StateAxis::published ? point.published_bytes : point.measured_bytes();
}

void mark_frontier(std::vector<FrontierEntry>& entries) {
  std::vector<Candidate> candidates;
  for (const FrontierEntry& entry : entries)
    candidates.push_back({entry.state, entry.point.result.mean});
  const std::vector<bool> kept = pareto_frontier(candidates);
  for (std::size_t i = 0; i < entries.size(); ++i)
    entries[i].on_frontier = kept[i];
}

/// By rising state and falling accuracy; what cannot be drawn comes last, as it came.
void sort_entries(std::vector<FrontierEntry>& entries) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const FrontierEntry& a, const FrontierEntry& b) {
                     if (!a.is_drawn() || !b.is_drawn()) return a.is_drawn() && !b.is_drawn();
                     if (a.state != b.state) return a.state < b.state;
                     return a.point.result.mean > b.point.result.mean;
                   });
}

/// Notes of one kind: "WHAT: name, name and 3 more"; nothing if `names` is empty.
void add_note(Frontier& frontier, const std::string& what, std::vector<std::string> names) {
  if (names.empty()) return;
  const std::size_t more = names.size() > kMostNames ? names.size() - kMostNames : 0;
  names.resize(names.size() - more);
  frontier.notes.push_back(fmt::format("{}: {}{}", what, fmt::join(names, ", "),
                                       more == 0 ? "" : fmt::format(" and {} more", more)));
}

/// What there is to say about single models.
void add_model_notes(Frontier& frontier) {
  std::vector<std::string> differing, incomplete, without_result, without_state;
  for (const TaskFrontier& task : frontier.tasks) {
    for (const FrontierEntry& entry : task.entries) {
      const ModelPoint& point = entry.point;
      const std::string name = plain_text(point.model, 80) +
                               (frontier.tasks.size() > 1 ? " on " + task.name : std::string());
      if (point.state_bytes && std::isfinite(point.published_bytes)) {
        const double measured = point.measured_bytes();
        const double larger = std::max(measured, point.published_bytes);
        if (std::abs(measured - point.published_bytes) > kStateTolerance * larger)
          differing.push_back(fmt::format("{} ({} against {:.0f} bytes)", name, *point.state_bytes,
                                          point.published_bytes));
      }
      if (!point.has_result)
        without_result.push_back(
            fmt::format("{} ({} diverged, {} failed)", name, point.diverged, point.failed));
      else if (point.incomplete)
        incomplete.push_back(fmt::format("{} (n = {})", name, point.valid.n));
      if (point.has_result && !std::isfinite(entry.state)) without_state.push_back(name);
    }
  }
  add_note(frontier, "measured and published state differ by more than 5 %", differing);
  add_note(frontier, "seeds are missing", incomplete);
  add_note(frontier, "no run was finished", without_result);
  add_note(frontier,
           frontier.axis == StateAxis::published ? "left out, no published formula for the state"
                                                 : "left out, no state was measured",
           without_state);
}

/// What there is to say about all runs together.
void add_run_notes(Frontier& frontier, const std::vector<SummaryRow>& rows) {
  std::set<std::string> devices, versions;
  std::int64_t done = 0, same = 0;
  for (const SummaryRow& row : rows) {
    if (row.status != kStatusDone) continue;
    ++done;
    same += row.valid_accuracy == row.test_accuracy && row.valid_loss == row.test_loss ? 1 : 0;
    devices.insert(plain_text(row.device, 40));
    versions.insert(plain_text(row.numerics_version, 40));
  }
  const std::string chosen = choice_text(frontier.choice());
  if (done > 0 && same == done && !chosen.empty())
    frontier.notes.push_back(fmt::format(
        "validation and test data are the same here: {} chosen on what is reported", chosen));
  if (devices.size() > 1)
    add_note(frontier, "runs of several devices are together", {devices.begin(), devices.end()});
  if (versions.size() > 1)
    add_note(frontier, "runs of several versions of the numerics are together",
             {versions.begin(), versions.end()});
}

void add_new(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

void add_choice(Choice& sum, const Choice& choice) {
  sum.learning_rate = sum.learning_rate || choice.learning_rate;
  sum.weight_decay = sum.weight_decay || choice.weight_decay;
  sum.other = sum.other || choice.other;
}

void count_runs(Frontier& frontier, const std::vector<SummaryRow>& rows) {
  std::set<std::uint64_t> seeds;
  for (const SummaryRow& row : rows) {
    ++frontier.runs;
    if (row.status == kStatusDiverged)
      ++frontier.diverged;
    else if (row.status != kStatusDone)
      ++frontier.failed;
    seeds.insert(row.seed);
    add_new(frontier.sweeps, row.sweep);
    add_new(frontier.families, row.model_name);
  }
  frontier.seeds = static_cast<std::int64_t>(seeds.size());
}

void name_tasks(std::vector<TaskFrontier>& tasks) {
  std::vector<std::string> texts;
  for (const TaskFrontier& task : tasks)
    texts.push_back(task.task);
  const std::vector<std::string> names = task_names(texts);
  for (std::size_t i = 0; i < tasks.size(); ++i)
    tasks[i].name = names[i];
}

}  // namespace

bool FrontierEntry::is_drawn() const {
  return std::isfinite(state) && std::isfinite(point.result.mean);
}

Choice TaskFrontier::choice() const {
  Choice choice;
  for (const FrontierEntry& entry : entries)
    add_choice(choice, entry.point.choice);
  return choice;
}

Choice Frontier::choice() const {
  Choice choice;
  for (const TaskFrontier& task : tasks)
    add_choice(choice, task.choice());
  return choice;
}

Frontier compute_frontier(const std::vector<SummaryRow>& rows, StateAxis axis,
                          const std::string& wanted) {
  const std::string column = wanted == "test/accuracy"    ? "test"
                             : wanted == "valid/accuracy" ? "valid"
                                                          : wanted;
  require_column(rows, column);
  Frontier frontier;
  frontier.axis = axis;
  frontier.column = column;
  count_runs(frontier, rows);
  for (ModelPoint& point : select_points(rows, column)) {
    auto task = std::find_if(frontier.tasks.begin(), frontier.tasks.end(),
                             [&](const TaskFrontier& t) { return t.task == point.task; });
    if (task == frontier.tasks.end())
      task = frontier.tasks.insert(task, TaskFrontier{point.task, "", {}});
    const double state = state_of(point, axis);
    task->entries.push_back({std::move(point), state, false});
  }
  name_tasks(frontier.tasks);
  for (TaskFrontier& task : frontier.tasks) {
    mark_frontier(task.entries);
    sort_entries(task.entries);
  }
  add_model_notes(frontier);
  add_run_notes(frontier, rows);
  return frontier;
}

}  // namespace recallbench
