// A mixer whose name is no line of text.
#include "mixers/plugin.h"

namespace {

void register_it(recallbench::MixerRegistry& registry) {
  registry.add("two\nlines", {"Another mixer.", nullptr});
}

}  // namespace

RECALLBENCH_PLUGIN(register_it)
