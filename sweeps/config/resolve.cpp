#include "sweeps/config/resolve.h"

#include <algorithm>

#include "kernels/base/names.h"
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

/// Throws if `entry` has a key that is not among `known`. With `only_misspelt`, only where a known
/// key is near.
void check_keys(const Node& entry, const std::string& kind, const std::string& who,
                std::vector<std::string> known, bool only_misspelt) {
  known.push_back(kind);
  if (kind == "task") known.push_back("num_examples");
  for (const Entry& parameter : entry.get<Table>()->entries) {
    const bool is_known = std::find(known.begin(), known.end(), parameter.key) != known.end();
    if (is_known) continue;
    if (only_misspelt && nearest_name(parameter.key, known).empty()) continue;
    fail_unknown_key(parameter.place, parameter.key, who, known);
  }
}

}  // namespace

void make_strictly(const Node& entry, const std::string& kind, Options& options,
                   const std::function<void(Options&)>& make) {
  const auto keys_of = [](const Options& asked) {
    std::vector<std::string> keys;
    for (const OptionInfo& info : asked.described())
      keys.push_back(info.key);
    return keys;
  };
  try {
    make(options);
  } catch (const Error&) {
    // A misspelt key leaves a default in force, and that may be what was refused.
    Options defaults(options.who());
    try {
      make(defaults);
    } catch (const Error&) {
      // Then what it read before it failed is known.
    }
    std::vector<std::string> known = keys_of(options);
    for (const std::string& key : keys_of(defaults))
      known.push_back(key);
    check_keys(entry, kind, options.who(), known, true);
    throw;
  }
  check_keys(entry, kind, options.who(), keys_of(options), false);
}

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
  std::unique_ptr<Task> made;
  make_strictly(entry, "task", options, [&](Options& asked) { made = task.make(asked); });
  ResolvedSegment resolved;
  resolved.options = options.resolved();
  resolved.shape = made->shape();
  resolved.available = made->available();
  resolved.has_compat = static_cast<bool>(task.generate_compat);
  return segments_.emplace(question, std::move(resolved)).first->second;
}

}  // namespace recallbench
