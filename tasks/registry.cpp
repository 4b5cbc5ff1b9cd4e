#include "tasks/task.h"

namespace recallbench {

std::vector<Role> Task::roles(std::span<const std::int32_t> inputs,
                              std::span<const std::int32_t> labels) const {
  std::vector<Role> roles(inputs.size(), Role::plain);
  for (std::size_t t = 0; t < roles.size(); ++t)
    if (labels[t] != kIgnoreLabel) roles[t] = Role::query;
  return roles;
}

const TaskRegistry& builtin_tasks() {
  static const TaskRegistry registry = [] {
    TaskRegistry all("task");
    register_builtin_tasks(all);
    return all;
  }();
  return registry;
}

}  // namespace recallbench
