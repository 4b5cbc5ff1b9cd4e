// Registers a mixer that cannot be made.
#include <stdexcept>

#include "mixers/plugin.h"

namespace {

using namespace recallbench;

void register_broken(MixerRegistry& registry) {
  registry.add("broken", {"Cannot be made.",
                          [](const MixerContext&, Options&,
                             ParameterDeclarer&) -> std::unique_ptr<SequenceMixer> {
                            throw std::runtime_error("thrown by the factory");
                          }});
}

}  // namespace

RECALLBENCH_PLUGIN(register_broken)
