#include "mixers/linear_attention/linear_attention.h"
#include "mixers/registry.h"

namespace recallbench {

void register_based(MixerRegistry& registry) {
  registry.add("based",
               {"Linear attention with the second-order Taylor feature map of exp (Arora et "
                "al. 2024).",
                linear_attention_factory("taylor_exp"),
                {deviations::kOutputStartsUnscaled}});
}

}  // namespace recallbench
