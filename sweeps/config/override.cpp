#include <algorithm>
#include <charconv>

#include "kernels/base/names.h"
#include "kernels/base/text.h"
#include "sweeps/config/option_paths.h"
#include "sweeps/config/plan.h"
#include "sweeps/config/read_run.h"
#include "sweeps/config/variables.h"

namespace recallbench {
namespace {

std::vector<std::string> parts_of(std::string_view text, std::string_view separator) {
  const std::vector<std::string_view> parts = split_outside_brackets(text, separator);
  return {parts.begin(), parts.end()};
}

void set_place(Node& node, const Place& place) {
  node.place = place;
  if (auto* list = node.get<List>())
    for (Node& item : *list)
      set_place(item, place);
  if (auto* table = node.get<Table>())
    for (Entry& entry : table->entries) {
      entry.place = place;
      set_place(entry.value, place);
    }
}

/// A value in TOML syntax; what is not TOML and has no quotes or brackets is a string.
Node parse_value(const std::string& text, const Place& place) {
  Node node;
  if (text.empty()) fail_at(place, "a value is missing after '=' or ','");
  if (std::any_of(text.begin(), text.end(), [](char c) { return c >= 0 && c < ' '; }))
    fail_at(place, "a value has no line breaks or control characters");
  try {
    const Node parsed = parse_toml("value = " + text, "value");
    node = *parsed.get<Table>()->find("value");
  } catch (const Error&) {
    if (text.find_first_of("\"'[]{}= \t#") != std::string::npos)
      fail_at(place, "'{}' is no TOML value; quote it, also for the shell", text);
    node.value = text;
  }
  set_place(node, place);
  return node;
}

bool replace_axis(std::vector<Axis>& axes, const std::string& name, const List& values,
                  const Place& place) {
  for (Axis& axis : axes) {
    if (axis.name != name) continue;
    axis.place = place;
    axis.values = values;
    // As in the file, one list is the list of the values.
    if (const List* list = values.size() == 1 ? values[0].get<List>() : nullptr)
      axis.values = *list;
    if (axis.values.empty()) fail_at(place, "'{}' needs at least one value", name);
    return true;
  }
  return false;
}

bool replace_variable(Plan& plan, const std::string& name, const List& values, const Place& place) {
  bool found = replace_axis(plan.grid, name, values, place);
  for (ModelPlan& model : plan.models)
    found = replace_axis(model.grid, name, values, place) || found;
  for (CasePlan& one : plan.cases) {
    if (one.variables.find(name) == nullptr) continue;
    if (values.size() != 1)
      fail_at(place, "'{}' belongs to [[sweep.cases]] and takes one value, not {}", name,
              values.size());
    one.variables.set(name, place, values[0]);
    found = plan.cases_overridden = true;
  }
  return found;
}

std::vector<std::string> paths_of(const Plan& plan) {
  std::vector<std::string> paths = known_paths();
  for (std::string& path : option_paths(plan))
    paths.push_back(std::move(path));
  return paths;
}

/// "d_model=32" means "model.d_model=32" to its writer; say so.
[[noreturn]] void fail_unknown_name(const Plan& plan, const std::string& name, const Place& place) {
  std::vector<std::string> known;  // the variables first: the end of a long list is not shown
  for (const Axis& axis : plan.grid)
    known.push_back(axis.name);
  for (const ModelPlan& model : plan.models)
    for (const Axis& axis : model.grid)
      if (std::find(known.begin(), known.end(), axis.name) == known.end())
        known.push_back(axis.name);
  if (!plan.cases.empty())
    for (const std::string& variable : plan.cases[0].variables.keys())
      known.push_back(variable);
  known.insert(known.end(), {"name", "description"});
  for (const std::string& path : paths_of(plan))
    known.push_back(path);
  fail_at(place, "there is no variable or key '{}'{}", name, hint_for(name, known));
}

std::string join(const std::vector<std::string>& path, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i)
    text += (i == 0 ? "" : ".") + path[i];
  return text;
}

Node& entry_of(List& list, const PathOverride& change, std::size_t i) {
  const std::string& part = change.path[i];
  std::size_t index = 0;
  const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
  const bool is_padded = part.size() > 1 && part[0] == '0';  // no second way to write an index
  if (is_padded || parsed.ec != std::errc() || parsed.ptr != part.data() + part.size() ||
      index >= list.size())
    fail_at(change.place, "'{}' is a list of {}; '{}' must be an index from 0 to {}",
            join(change.path, i), list.size(), part, list.size() - 1);
  return list[index];
}

}  // namespace

void set_path(Table& root, const PathOverride& change, const Node& value, bool stop_at_reference) {
  const std::vector<std::string>& path = change.path;
  Node* node = nullptr;  // what path[0..i) leads to; null for the root
  for (std::size_t i = 0; i < path.size(); ++i) {
    const bool last = i + 1 == path.size();
    Table* table = node == nullptr ? &root : node->get<Table>();
    if (table != nullptr) {
      if (last) return table->set(path[i], change.place, value);
      if (table->find(path[i]) == nullptr)
        table->set(path[i], change.place, {Table{}, change.place});
      node = table->find(path[i]);
    } else if (List* list = node->get<List>(); list != nullptr && !list->empty()) {
      node = &entry_of(*list, change, i);
      if (last) *node = value;
    } else if (stop_at_reference && as_reference(*node)) {
      return;
    } else {
      fail_at(change.place, "'{}' is {} ({}), so there is no '{}' in it", join(path, i),
              node->type_name(), node->text(), path[i]);
    }
  }
}

void add_override(Plan& plan, const std::string& text) {
  constexpr std::size_t kShown = 80;
  const std::string shortened = text.size() <= kShown ? text : text.substr(0, kShown) + " ...";
  const Place place{std::make_shared<const std::string>("override " + in_quotes(shortened)), 0, 0};
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos)
    fail_at(place, "an override reads key=value, such as train.lr=1e-3");
  const std::string key = text.substr(0, equals);
  PathOverride change{parts_of(key, "."), place, {}};
  if (change.path.size() > kMostKeyParts)
    fail_at(place, "a path has at most {} parts with dots between them", kMostKeyParts);
  for (const std::string& part : change.path)
    if (part.empty() || part.find_first_of(" \t\"'[]{}") != std::string::npos)
      fail_at(place, "'{}' is no dotted path, such as train.lr or model.layers.1.feature_dim", key);
  if (!plan.overridden.insert(key).second)
    fail_at(place, "'{}' is overridden twice; keep one", key);
  for (const std::string& part : parts_of(std::string_view(text).substr(equals + 1), ","))
    change.values.push_back(parse_value(part, place));

  const std::string& first = change.path[0];
  if (first == "schema" || first == "sweep")
    fail_at(place,
            "'{}' cannot be overridden; give a variable by its name (lr=1e-3,1e-2) or a "
            "key by its path (model.d_model=64)",
            first);
  const bool one_name = change.path.size() == 1;
  if (one_name && replace_variable(plan, first, change.values, place)) return;
  if (one_name && (first == "name" || first == "description")) {
    const auto* value = change.values[0].get<std::string>();
    if (value == nullptr || change.values.size() != 1)
      fail_at(place, "'{}' must be a string", first);
    if (first == "name") check_recipe_name(*value, place);
    (first == "name" ? plan.name : plan.description) = *value;
    return;
  }
  const std::vector<std::string>& keys = run_keys();
  if (std::find(keys.begin(), keys.end(), first) == keys.end()) {
    if (one_name) fail_unknown_name(plan, first, place);
    std::string near = nearest_name(first, keys);
    if (near.empty()) near = nearest_name(key, paths_of(plan));
    fail_at(place, "there is no table '{}'{}", first,
            near.empty() ? hint_for(first, keys) : fmt::format("; did you mean '{}'?", near));
  }
  plan.overrides.push_back(std::move(change));
}

}  // namespace recallbench
