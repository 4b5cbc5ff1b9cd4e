// A mixer that loads, and throws in its constructor where an option says so.
#include <stdexcept>

#include "mixers/plugin.h"

namespace {

using namespace recallbench;

void register_thrower(MixerRegistry& registry) {
  registry.add("thrower", {"Throws when asked to.",
                           [](const MixerContext&, Options& options,
                              ParameterDeclarer&) -> std::unique_ptr<SequenceMixer> {
                             if (options.boolean("text", false))
                               throw std::runtime_error("thrown by the constructor\nin two lines");
                             if (options.boolean("number", false)) throw 7;
                             options.reject("text", "is needed, or 'number'");
                           }});
}

}  // namespace

RECALLBENCH_PLUGIN(register_thrower)
