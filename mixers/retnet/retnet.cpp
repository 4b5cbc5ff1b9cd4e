#include "mixers/gla/gla.h"
#include "mixers/registry.h"

namespace recallbench {

void register_retnet(MixerRegistry& registry) {
  registry.add(
      "retnet",
      {"Multi-scale retention: linear attention with rotary positions whose heads forget, "
       "each at a rate of its own (Sun et al. 2023).",
       gla_factory(HeadDecay::fixed_rate),
       {deviations::kOutputStartsUnscaled,
        {"",
         "RetNet's xPos decay and the normalisers of its paper are left out: the norm of each head "
         "takes any scale away",
         kSameUnderCompat}}});
}

}  // namespace recallbench
