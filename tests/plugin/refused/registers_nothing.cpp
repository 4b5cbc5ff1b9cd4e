// All is well, but for a mixer.
#include "mixers/plugin.h"

namespace {

void register_nothing(recallbench::MixerRegistry&) {}

}  // namespace

RECALLBENCH_PLUGIN(register_nothing)
