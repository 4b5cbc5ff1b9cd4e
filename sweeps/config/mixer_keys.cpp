#include "sweeps/config/mixer_keys.h"

#include <algorithm>
#include <optional>

#include "kernels/base/names.h"
#include "sweeps/config/describe.h"

namespace recallbench {
namespace {

/// An option and the mixer that has it.
struct Owner {
  std::string mixer, option;
  std::optional<std::size_t> layer;  ///< of `layers`; none where no entry has that mixer
};

std::vector<std::string> option_names(const Description& mixer) {
  std::vector<std::string> names;
  for (const OptionInfo& option : mixer.parameters)
    names.push_back(option.key);
  return names;
}

/// What `layers` holds, as far as it can be told before variables have values.
std::vector<Owner> layers_of(const Table& model) {
  std::vector<Owner> layers;
  const Node* node = model.find("layers");
  const List* list = node == nullptr ? nullptr : node->get<List>();
  for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const Table* entry = (*list)[i].get<Table>();
    const Node* mixer = entry == nullptr ? nullptr : entry->find("mixer");
    const auto* name = mixer == nullptr ? nullptr : mixer->get<std::string>();
    if (name != nullptr) layers.push_back({*name, "", i});
  }
  return layers;
}

/// The mixer that has the option `key`; without `exactly` one of a name near it, of the layers.
std::optional<Owner> owner_of(const std::string& key, const Table& model, bool exactly) {
  const std::vector<Description> mixers = describe_mixers();
  std::vector<Owner> candidates = layers_of(model);
  if (exactly)
    for (const Description& mixer : mixers)
      candidates.push_back({mixer.name, "", std::nullopt});
  for (Owner& candidate : candidates)
    for (const Description& mixer : mixers) {
      if (mixer.name != candidate.mixer) continue;
      const std::vector<std::string> names = option_names(mixer);
      candidate.option = exactly ? key : nearest_name(key, names);
      if (std::find(names.begin(), names.end(), candidate.option) != names.end()) return candidate;
    }
  return std::nullopt;
}

}  // namespace

void refuse_mixer_keys(const Node& model, const std::string& name,
                       const std::vector<std::string>& known) {
  const Table* table = model.get<Table>();
  if (table == nullptr) return;
  for (const Entry& entry : table->entries) {
    if (std::find(known.begin(), known.end(), entry.key) != known.end()) continue;
    const std::string near = nearest_name(entry.key, known);
    const auto exact = owner_of(entry.key, *table, true);
    const auto owner = exact || !near.empty() ? exact : owner_of(entry.key, *table, false);
    if (!owner) return;
    const bool is_override = entry.place.line == 0;
    std::string where;
    if (!is_override)
      where =
          fmt::format("write it in an entry of that mixer, layers = [{{mixer = \"{}\", {} = ...}}]",
                      owner->mixer, owner->option);
    else if (owner->layer)
      where = fmt::format("write model.layers.{}.{}", *owner->layer, owner->option);
    else
      where = "no layer here has that mixer";
    fail_at(entry.place, "unknown key '{}' in {}; '{}' is an option of mixer '{}': {}{}", entry.key,
            name, owner->option, owner->mixer, where,
            near.empty() ? "" : fmt::format("; or did you mean '{}'?", near));
  }
}

}  // namespace recallbench
