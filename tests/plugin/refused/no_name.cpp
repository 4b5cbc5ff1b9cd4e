// A mixer without a name.
#include "mixers/plugin.h"

namespace {

void register_it(recallbench::MixerRegistry& registry) {
  registry.add("", {"Another mixer.", nullptr});
}

}  // namespace

RECALLBENCH_PLUGIN(register_it)
