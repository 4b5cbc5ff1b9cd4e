#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mixers/model_config.h"
#include "sweeps/config/node.h"
#include "tasks/task.h"

namespace recallbench {

/// What the registry of tasks says about one entry of `train`, `valid` or `test`.
struct ResolvedSegment {
  Values options;  ///< defaults filled in
  TaskShape shape;
  std::optional<std::int64_t> available;  ///< examples, where the data are finite
  bool has_compat = false;                ///< the task can be generated as its reference does
};

/// Asks the registries of tasks and mixers. Runs of one sweep share most of their parts, so equal
/// questions are asked once.
class Resolver {
 public:
  /// `entry` is a table with `task` and the task's own parameters; `num_examples` is skipped.
  /// Throws Error(usage) with the place of the wrong key.
  const ResolvedSegment& segment(const Node& entry);

  /// Fills `model.layers` from the entries of `layers`, every other field of `model` being set:
  /// mixers known, parameters resolved, the model's parameters declared once.
  void layers(ModelConfig& model, const List& layers);

 private:
  std::map<std::string, ResolvedSegment> segments_;
  std::map<std::string, std::vector<LayerConfig>> layers_;
};

/// For the end of a message about an unknown mixer: near ones, and where others come from.
std::string mixer_hint(const std::string& name);

/// A parameter of a task or mixer as its Options take it: booleans, numbers, strings and lists of
/// one of these; integers among numbers become numbers.
Value to_option(const std::string& key, const Node& node);

/// Calls `make` and then refuses the keys of `entry` that it did not read, except `kind` ("task",
/// "mixer"), which names the entry. Where `make` itself fails, a misspelt key is blamed first.
void make_strictly(const Node& entry, const std::string& kind, Options& options,
                   const std::function<void(Options&)>& make);

}  // namespace recallbench
