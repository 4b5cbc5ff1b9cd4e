#include "mixers/delta_net/delta_net.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

std::unique_ptr<SequenceMixer> make(const MixerContext& context, Options& o,
                                    ParameterDeclarer& declarer) {
  DeltaNetConfig config;
  config.decay = true;
  config.heads = o.integer("num_heads", context.zoology ? 6 : 1, 1, context.d_model, "heads");
  const double expand_v = o.number("expand_v", 2.0, 1e-3, 64, "value_dim / d_model");
  config.gate = o.boolean("use_gate", true, "SiLU(g_proj x) after the norm");
  read_common_options(context, o, 1.0, expand_v, config);
  return make_delta_net(config, context, declarer);
}

}  // namespace

void register_gated_delta_net(MixerRegistry& registry) {
  registry.add(
      "gated_delta_net",
      {"The delta rule on a state that decays, by how much depends on the token (Yang, "
       "Kautz and Hatamizadeh 2024).",
       make,
       {deviations::kOutputStartsUnscaled,
        deviations::kRoundedToBfloat16,
        {"", "`gated_delta_net` has a parameter `D` that nothing reads", "it is not there"}}});
}

}  // namespace recallbench
