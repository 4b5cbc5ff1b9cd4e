// Takes the name of a mixer that is built in.
#include "mixers/plugin.h"

namespace {

void register_identity_again(recallbench::MixerRegistry& registry) {
  registry.add("identity", {"Another identity.", nullptr});
}

}  // namespace

RECALLBENCH_PLUGIN(register_identity_again)
