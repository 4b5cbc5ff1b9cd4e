#include "mixers/registry.h"
#include "mixers/ttt_linear/ttt.h"

namespace recallbench {

void register_ttt_linear(MixerRegistry& registry) {
  registry.add("ttt_linear",
               {"Test-time training: the state is a linear model that every token trains (Sun et "
                "al. 2024).",
                ttt_factory(false),
                {deviations::kOutputStartsUnscaled}});
}

}  // namespace recallbench
