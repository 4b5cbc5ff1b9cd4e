#include "sweeps/config/option_paths.h"

#include <algorithm>

#include "sweeps/config/describe.h"

namespace recallbench {
namespace {

/// Adds the paths of options below `path`, a list of tables whose `kind` ("mixer", "task") names
/// one of `described`. A variable in its place has none.
void add_paths(const Node* list, const std::string& path, const std::string& kind,
               const std::vector<Description>& described, std::vector<std::string>& paths) {
  const List* entries = list == nullptr ? nullptr : list->get<List>();
  if (entries == nullptr) return;
  for (std::size_t i = 0; i < entries->size(); ++i) {
    const Table* entry = (*entries)[i].get<Table>();
    const Node* name = entry == nullptr ? nullptr : entry->find(kind);
    const auto* text = name == nullptr ? nullptr : name->get<std::string>();
    if (text == nullptr) continue;
    for (const Description& description : described) {
      if (description.name != *text) continue;
      for (const OptionInfo& option : description.parameters) {
        const std::string found = fmt::format("{}.{}.{}", path, i, option.key);
        if (std::find(paths.begin(), paths.end(), found) == paths.end()) paths.push_back(found);
      }
    }
  }
}

}  // namespace

std::vector<std::string> option_paths(const Plan& plan) {
  std::vector<std::string> paths;
  const std::vector<Description> mixers = describe_mixers(), tasks = describe_tasks();
  const auto add_layers = [&](const Table& model) {
    add_paths(model.find("layers"), "model.layers", "mixer", mixers, paths);
  };
  const auto table_of = [&](const std::string& key) {
    const Node* node = plan.base.find(key);
    return node == nullptr ? nullptr : node->get<Table>();
  };
  if (const Table* model = table_of("model")) add_layers(*model);
  for (const ModelPlan& model : plan.models)
    add_layers(model.keys);
  if (const Table* task = table_of("task"))
    for (const std::string split : {"train", "valid", "test"})
      add_paths(task->find(split), "task." + split, "task", tasks, paths);
  return paths;
}

}  // namespace recallbench
