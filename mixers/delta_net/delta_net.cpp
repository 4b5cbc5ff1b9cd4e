#include "mixers/delta_net/delta_net.h"

#include <algorithm>

#include "mixers/head_numbers.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

std::unique_ptr<SequenceMixer> make(const MixerContext& context, Options& o,
                                    ParameterDeclarer& declarer) {
  DeltaNetConfig config;
  config.heads = o.integer("num_heads", context.zoology ? 4 : 1, 1, context.d_model, "heads");
  const double expand_k = o.number("expand_k", 1.0, 1e-3, 64, "key_dim / d_model");
  const double expand_v = o.number("expand_v", 1.0, 1e-3, 64, "value_dim / d_model");
  config.gate = o.boolean("use_gate", false, "SiLU(g_proj x) after the norm");
  read_common_options(context, o, expand_k, expand_v, config);
  config.beta = o.boolean("use_beta", true, "strengths from the token; otherwise 1");
  config.doubles_beta = o.boolean("allow_neg_eigval", false, "strengths up to 2");
  const std::vector<std::string> names = {"silu", "relu", "elu", "identity"};
  const std::string activation = o.text("qk_activation", "silu", names, "of q and k; elu: plus 1");
  config.activation =
      static_cast<QkActivation>(std::find(names.begin(), names.end(), activation) - names.begin());
  config.norm =
      o.text("qk_norm", "l2", {"l2", "sum"}, "q and k of a head over length or sum") == "l2"
          ? QkNorm::l2
          : QkNorm::sum;
  if (config.norm == QkNorm::sum && config.activation != QkActivation::elu)
    o.reject("qk_norm", "may be 'sum' with qk_activation = 'elu' alone: other sums come near 0");
  return make_delta_net(config, context, declarer);
}

}  // namespace

void read_common_options(const MixerContext& context, Options& o, double expand_k, double expand_v,
                         DeltaNetConfig& config) {
  config.d_model = context.d_model;
  config.keys = head_numbers(o, config.decay ? "d_model" : "expand_k d_model", expand_k,
                             context.d_model, config.heads);
  config.values = head_numbers(o, "expand_v d_model", expand_v, context.d_model, config.heads);
  const bool conv = o.boolean("use_short_conv", true, "convolutions of q, k and v");
  const Index width = o.integer("conv_size", 4, 1, 64, "their width");
  config.conv = conv ? width : 0;
  config.norm_eps = o.number("norm_eps", 1e-5, 1e-12, 1, "of o_norm");
}

void register_delta_net(MixerRegistry& registry) {
  registry.add("delta_net",
               {"The delta rule: what a key recalls is replaced by its new value (Schlag et al. "
                "2021; Yang et al. 2024).",
                make,
                {deviations::kOutputStartsUnscaled, deviations::kRoundedToBfloat16}});
}

}  // namespace recallbench
