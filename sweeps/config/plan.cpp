#include "sweeps/config/plan.h"

#include <algorithm>
#include <limits>
#include <set>

#include "analysis/characters.h"
#include "kernels/base/names.h"
#include "sweeps/config/mixer_keys.h"
#include "sweeps/config/read_run.h"
#include "sweeps/config/table_reader.h"
#include "sweeps/config/variables.h"

namespace recallbench {
namespace {

constexpr std::int64_t kSchema = 1;
constexpr std::size_t kLongestName = 100;

}  // namespace

void check_recipe_name(const std::string& name, const Place& place) {
  const auto is_good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  if (name.empty() || name.size() > kLongestName || name[0] == '.' || name[0] == '-' ||
      !std::all_of(name.begin(), name.end(), is_good))
    fail_at(place,
            "the name must be 1 to 100 letters, digits, '-', '_' and '.', not beginning with '.' "
            "or '-', since "
            "it names a directory (it is '{}')",
            name);
}

namespace {

void check_variable_name(const std::string& name, const Place& place) {
  if (!is_variable_name(name))
    fail_at(place,
            "a variable's name has letters, digits and '_' and begins with no digit; rename "
            "'{}'",
            name);
}

std::vector<Axis> read_grid(const Node& node, const std::string& name) {
  const auto* table = node.get<Table>();
  if (table == nullptr) reject_value(node, name, "a table of lists");
  std::vector<Axis> axes;
  for (const Entry& entry : table->entries) {
    check_variable_name(entry.key, entry.place);
    const auto* values = entry.value.get<List>();
    if (values == nullptr)
      fail_at(entry.value.place, "'{}' in {} must be a list of values, such as [{}]", entry.key,
              name, entry.value.text());
    if (values->empty())
      fail_at(entry.value.place, "'{}' in {} is empty; give at least one value", entry.key, name);
    axes.push_back({entry.key, entry.place, *values});
  }
  return axes;
}

CasePlan read_case(const Node& node) {
  const auto* table = node.get<Table>();
  if (table == nullptr) reject_value(node, "an entry of [[sweep.cases]]", "a table");
  CasePlan plan;
  plan.place = node.place;
  for (const Entry& entry : table->entries) {
    const bool is_layer = entry.key == "task" || entry.key == "model" || entry.key == "train";
    if (!is_layer) check_variable_name(entry.key, entry.place);
    Table& to = is_layer && entry.value.get<Table>() != nullptr ? plan.tables : plan.variables;
    to.set(entry.key, entry.place, entry.value);
  }
  return plan;
}

ModelPlan read_model(const Node& node) {
  const std::string where = "[[sweep.models]]";
  std::vector<std::string> known = model_keys();
  known.insert(known.end(), {"name", "grid"});
  refuse_mixer_keys(node, where, known);
  const TableReader reader(node, where, known);
  ModelPlan plan;
  plan.place = node.place;
  plan.name = reader.text("name", std::nullopt);
  if (plan.name.empty() || plan.name.size() > kLongestName || plain_text(plan.name) != plan.name)
    reader.reject("name", "1 to 100 printable characters");
  for (const Entry& entry : node.get<Table>()->entries) {
    if (entry.key == "grid")
      plan.grid = read_grid(entry.value, "the grid of model '" + plan.name + "'");
    else if (entry.key != "name")
      plan.keys.set(entry.key, entry.place, entry.value);
  }
  return plan;
}

void check_cases(const std::vector<CasePlan>& cases) {
  for (const CasePlan& one : cases) {
    for (const std::string& name : cases[0].variables.keys())
      if (one.variables.find(name) == nullptr)
        fail_at(one.place,
                "this case lacks '{}', which the first case gives; all cases give the "
                "same variables",
                name);
    for (const Entry& entry : one.variables.entries)
      if (cases[0].variables.find(entry.key) == nullptr)
        fail_at(entry.place, "the first case does not give '{}'; all cases give the same variables",
                entry.key);
  }
}

void check_declared_once(const Plan& plan) {
  std::set<std::string> common;
  const auto declare = [](std::set<std::string>& names, const std::string& name,
                          const Place& place) {
    if (!names.insert(name).second)
      fail_at(place, "variable '{}' is declared twice; rename one or drop it", name);
  };
  for (const Axis& axis : plan.grid)
    declare(common, axis.name, axis.place);
  if (!plan.cases.empty())
    for (const Entry& entry : plan.cases[0].variables.entries)
      declare(common, entry.key, entry.place);
  for (const ModelPlan& model : plan.models) {
    std::set<std::string> names = common;
    for (const Axis& axis : model.grid)
      declare(names, axis.name, axis.place);
  }
}

void read_sweep(const Node& node, Plan& plan) {
  const TableReader sweep(node, "[sweep]", {"grid", "cases", "models"});
  plan.place = node.place;
  if (const Node* grid = sweep.table("grid")) plan.grid = read_grid(*grid, "[sweep.grid]");
  if (const List* cases = sweep.list("cases"))
    for (const Node& one : *cases)
      plan.cases.push_back(read_case(one));
  if (const List* models = sweep.list("models"))
    for (const Node& model : *models)
      plan.models.push_back(read_model(model));
}

}  // namespace

Plan read_plan(const Node& root) {
  std::vector<std::string> known = run_keys();
  known.insert(known.begin(), {"schema", "name", "description"});
  known.push_back("sweep");
  const TableReader top(root, "the top level", known);
  if (top.integer("schema", std::nullopt, 0, std::numeric_limits<std::int64_t>::max()) != kSchema)
    top.reject("schema", "1, the only one that this version reads");

  Plan plan;
  plan.place = root.place;
  plan.name = top.text("name", std::nullopt);
  check_recipe_name(plan.name, top.place("name"));
  plan.description = top.text("description", "");
  for (const Entry& entry : root.get<Table>()->entries) {
    if (entry.key == "sweep") read_sweep(entry.value, plan);
    const std::vector<std::string>& keys = run_keys();
    if (std::find(keys.begin(), keys.end(), entry.key) != keys.end())
      plan.base.set(entry.key, entry.place, entry.value);
  }
  if (plan.models.empty()) plan.models.push_back({"", plan.place, {}, {}});
  check_cases(plan.cases);
  check_declared_once(plan);
  return plan;
}

void check_model_names(const std::string& name, const std::vector<std::string>& wanted,
                       const std::vector<std::string>& known) {
  for (const std::string& model : wanted)
    if (std::find(known.begin(), known.end(), model) == known.end())
      fail(ErrorKind::usage, "recipe", "the recipe '{}' has no model {}{}", name, in_quotes(model),
           hint_for(model, known));
}

void choose_models(Plan& plan, const std::vector<std::string>& names) {
  if (names.empty() || plan.models[0].name.empty()) return;
  std::vector<std::string> known;
  for (const ModelPlan& model : plan.models)
    if (std::find(known.begin(), known.end(), model.name) == known.end())
      known.push_back(model.name);
  check_model_names(plan.name, names, known);
  for (ModelPlan& model : plan.models)
    model.chosen = std::find(names.begin(), names.end(), model.name) != names.end();
}

}  // namespace recallbench
