// Declares a parameter that is no tensor.
#include "mixers/plugin.h"

namespace {

using namespace recallbench;

void register_broken(MixerRegistry& registry) {
  registry.add("broken", {"Cannot be made.",
                          [](const MixerContext&, Options&,
                             ParameterDeclarer& d) -> std::unique_ptr<SequenceMixer> {
                            d.undecayed("scale", {}, constant(1));
                            return nullptr;
                          }});
}

}  // namespace

RECALLBENCH_PLUGIN(register_broken)
