// Throws what is no exception.
#include "mixers/plugin.h"

namespace {

void register_nothing(recallbench::MixerRegistry&) {
  throw 7;
}

}  // namespace

RECALLBENCH_PLUGIN(register_nothing)
