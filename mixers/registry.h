#pragma once

#include <string>
#include <vector>

#include "kernels/base/registry.h"
#include "mixers/deviation.h"
#include "mixers/mixer.h"

namespace recallbench {

/// A mixer's place in the registry.
struct MixerEntry {
  std::string summary;  ///< one line: what it is, and the paper
  MixerFactory make;
  /// Known differences from the paper; `list mixers` and `check` print them, mixers/README.md
  /// tables them, and a test keeps the three alike.
  std::vector<Deviation> deviations = {};
  std::string block = "transformer";  ///< the block that it stands in by itself
  std::string origin = "built in";    ///< or the plugin's file
};

using MixerRegistry = Registry<MixerEntry>;

/// Adds every mixer in this tree; defined by the build from the folders that it finds.
void register_builtin_mixers(MixerRegistry& registry);

/// The registry of this process: the built-in mixers and those of loaded plugins.
MixerRegistry& mixer_registry();

}  // namespace recallbench
