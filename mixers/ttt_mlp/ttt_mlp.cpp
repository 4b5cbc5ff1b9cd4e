#include "mixers/registry.h"
#include "mixers/ttt_linear/ttt.h"

namespace recallbench {

void register_ttt_mlp(MixerRegistry& registry) {
  registry.add("ttt_mlp",
               {"Test-time training: the state is a network of two layers that every token trains "
                "(Sun et al. 2024).",
                ttt_factory(true),
                {deviations::kOutputStartsUnscaled}});
}

}  // namespace recallbench
