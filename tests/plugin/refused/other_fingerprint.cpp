// Built by another compiler, as it says.
#include "mixers/plugin.h"

extern "C" const recallbench::PluginEntry* recallbench_plugin() {
  static const recallbench::PluginEntry entry = {sizeof(recallbench::PluginEntry), "compiler 1.0",
                                                 [](recallbench::MixerRegistry&) {}};
  return &entry;
}
