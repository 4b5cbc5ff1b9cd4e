// Declares two parameters by one name.
#include "mixers/plugin.h"

namespace {

using namespace recallbench;

void register_broken(MixerRegistry& registry) {
  registry.add("broken", {"Cannot be made.",
                          [](const MixerContext& context, Options&,
                             ParameterDeclarer& d) -> std::unique_ptr<SequenceMixer> {
                            d.undecayed("bias", {context.d_model}, constant(0));
                            d.undecayed("bias", {context.d_model}, constant(0));
                            return nullptr;
                          }});
}

}  // namespace

RECALLBENCH_PLUGIN(register_broken)
