#include <fmt/format.h>

#include <cmath>

#include "analysis/figure_layout.h"
#include "analysis/report.h"
#include "analysis/short_names.h"

namespace recallbench {
namespace {

Cell optional_cell(const std::optional<std::int64_t>& value) {
  return value ? Cell(*value) : Cell();
}

/// Nothing where there is no number.
Cell number_cell(double value) {
  return std::isfinite(value) ? Cell(value) : Cell();
}

std::vector<Cell> table_row(const std::string& task, const FrontierEntry& entry) {
  const ModelPoint& point = entry.point;
  std::vector<std::string> seeds;
  for (const std::uint64_t seed : point.seeds)
    seeds.push_back(std::to_string(seed));
  return {task,
          point.family,
          point.model,
          optional_cell(point.state_bytes),
          number_cell(point.published_bytes),
          number_cell(point.result.mean),
          number_cell(point.result.min),
          number_cell(point.result.max),
          point.result.n,
          number_cell(point.valid.mean),
          number_cell(point.learning_rate),
          number_cell(point.weight_decay),
          entry.on_frontier,
          point.incomplete,
          point.runs,
          point.diverged,
          point.failed,
          point.seeds,
          point.run_ids};
}

/// "39.5 Ki" for reading; the exact number is in the CSV.
Cell state_cell(double bytes) {
  return std::isfinite(bytes) ? Cell(bytes_label(bytes)) : Cell();
}

Table readable_table(const TaskFrontier& task, const std::string& column) {
  Table table;
  table.columns = {"",    "family", "model", "state", "published", column,
                   "min", "max",    "n",     "valid", "lr",        "lost runs"};
  std::vector<std::string> families, models;
  for (const FrontierEntry& entry : task.entries) {
    families.push_back(entry.point.family);
    models.push_back(entry.point.model);
  }
  families = short_names(families, 24);
  models = short_names(models, 48);
  for (std::size_t i = 0; i < task.entries.size(); ++i) {
    const FrontierEntry& entry = task.entries[i];
    const ModelPoint& p = entry.point;
    std::string lost;
    if (p.diverged > 0) lost = fmt::format("{} diverged", p.diverged);
    if (p.failed > 0) lost += fmt::format("{}{} failed", lost.empty() ? "" : ", ", p.failed);
    table.rows.push_back(
        {std::string(entry.on_frontier ? "*" : ""), families[i], models[i],
         state_cell(p.measured_bytes()), state_cell(p.published_bytes), number_cell(p.result.mean),
         number_cell(p.result.min), number_cell(p.result.max),
         fmt::format("{}{}", p.result.n, p.incomplete ? "!" : ""), number_cell(p.valid.mean),
         p.has_result ? Cell(fmt::format("{:.3g}", p.learning_rate)) : Cell(), lost});
  }
  return table;
}

}  // namespace

Table frontier_table(const Frontier& frontier) {
  Table table;
  const std::string column = frontier.column;
  table.columns = {"task",           "family",        "model",         "state_bytes", "state_size",
                   column + "_mean", column + "_min", column + "_max", column + "_n", "valid_mean",
                   "learning_rate",  "weight_decay",  "on_frontier",   "incomplete",  "runs",
                   "diverged",       "failed",        "seeds",         "run_ids"};
  for (const TaskFrontier& task : frontier.tasks)
    for (const FrontierEntry& entry : task.entries)
      table.rows.push_back(table_row(task.task, entry));
  return table;
}

std::string frontier_text(const Frontier& frontier) {
  std::string text;
  bool incomplete = false;
  for (const TaskFrontier& task : frontier.tasks) {
    for (const FrontierEntry& entry : task.entries)
      incomplete = incomplete || entry.point.incomplete;
    if (frontier.tasks.size() > 1)
      text += fmt::format("{}{}\n", text.empty() ? "" : "\n", task.name);
    text += to_text(readable_table(task, frontier.column));
  }
  const std::string chosen = choice_text(frontier.choice());
  text += fmt::format("\n* on the Pareto frontier; state in bytes, {} axis{}{}\n",
                      frontier.axis == StateAxis::measured ? "measured" : "published",
                      chosen.empty() ? "" : fmt::format("; {} chosen on validation data", chosen),
                      incomplete ? "; ! seeds are missing" : "");
  for (const std::string& note : frontier.notes)
    text += fmt::format("note: {}\n", note);
  return text;
}

std::string frontier_json(const Frontier& frontier) {
  Json document;
  document["axis"] = frontier.axis == StateAxis::measured ? "measured" : "published";
  document["column"] = frontier.column;
  document["sweeps"] = Json::list(frontier.sweeps);
  document["runs"] = frontier.runs;
  document["diverged"] = frontier.diverged;
  document["failed"] = frontier.failed;
  document["seeds"] = frontier.seeds;
  document["notes"] = Json::list(frontier.notes);
  document["points"] = to_json(frontier_table(frontier));
  return document.indented();
}

}  // namespace recallbench
