// Its factory returns no mixer.
#include "mixers/plugin.h"

namespace {

using namespace recallbench;

void register_broken(MixerRegistry& registry) {
  registry.add("broken",
               {"Cannot be made.",
                [](const MixerContext&, Options&,
                   ParameterDeclarer&) -> std::unique_ptr<SequenceMixer> { return nullptr; }});
}

}  // namespace

RECALLBENCH_PLUGIN(register_broken)
