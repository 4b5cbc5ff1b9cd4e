#include "sweeps/config/resolve.h"

#include "sweeps/config/table_reader.h"

namespace recallbench {
namespace {

/// Entries of one alternative of Node, as a vector; nullopt if one is of another type.
template <class T>
std::optional<std::vector<T>> entries_of(const List& list) {
  std::vector<T> values;
  for (const Node& item : list) {
    const T* value = item.get<T>();
    if (value == nullptr) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

std::optional<std::vector<double>> numbers_of(const List& list) {
  std::vector<double> values;
  for (const Node& item : list) {
    if (const auto* integer = item.get<std::int64_t>())
      values.push_back(static_cast<double>(*integer));
    else if (const auto* real = item.get<double>())
      values.push_back(*real);
    else
      return std::nullopt;
  }
  return values;
}

}  // namespace

Value to_option(const std::string& key, const Node& node) {
  if (const auto* flag = node.get<bool>()) return *flag;
  if (const auto* integer = node.get<std::int64_t>()) return *integer;
  if (const auto* real = node.get<double>()) return *real;
  if (const auto* text = node.get<std::string>()) return *text;
  if (const auto* list = node.get<List>()) {
    if (const auto integers = entries_of<std::int64_t>(*list)) return *integers;
    if (const auto numbers = numbers_of(*list)) return *numbers;
    if (const auto texts = entries_of<std::string>(*list)) return *texts;
  }
  reject_value(node, "'" + key + "'", "a number, a string, true, false, or a list of one of these");
}

const ResolvedSegment& Resolver::segment(const Node& entry) {
  const TableReader table(entry, "this entry", {});
  const std::string name = table.text("task", std::nullopt);
  const TaskRegistry& tasks = builtin_tasks();
  if (!tasks.contains(name))
    fail_at(table.place("task"), "there is no task '{}'{}", name, hint_for(name, tasks.names()));

  Options options("task '" + name + "'");
  std::string question = name;
  for (const Entry& parameter : entry.get<Table>()->entries) {
    if (parameter.key == "task" || parameter.key == "num_examples") continue;
    const Value value = to_option(parameter.key, parameter.value);
    options.set(parameter.key, value, parameter.value.place.text());
    question += "\n" + parameter.key + "=" + to_string(value);
  }
  const auto known = segments_.find(question);
  if (known != segments_.end()) return known->second;

  const TaskEntry& task = tasks.find(name);
  const std::unique_ptr<Task> made = task.make(options);
  options.finish();
  ResolvedSegment resolved;
  resolved.options = options.resolved();
  resolved.shape = made->shape();
  resolved.available = made->available();
  resolved.has_compat = static_cast<bool>(task.generate_compat);
  return segments_.emplace(question, std::move(resolved)).first->second;
}

}  // namespace recallbench
