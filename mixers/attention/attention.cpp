#include "mixers/attention/cached_attention.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

class Attention : public CachedAttention {
 public:
  using CachedAttention::CachedAttention;
  std::optional<double> published_state_size(Index length) const override {
    return 4.0 * 2 * static_cast<double>(config().d_model * length);
  }
  /// Behind one short convolution, which puts key and value side by side, it recalls everything.
  Traits traits() const override { return {true, false, 0.9, 1.0}; }
};

std::unique_ptr<SequenceMixer> make_attention(const MixerContext& context, Options& options,
                                              ParameterDeclarer& declarer) {
  CachedAttentionConfig config;
  config.d_model = context.d_model;
  config.heads = options.integer("num_heads", 1, 1, context.d_model, "heads; divides d_model");
  if (context.d_model % config.heads != 0)
    options.reject("num_heads", fmt::format("must divide d_model, which is {}", context.d_model));
  config.bias = options.boolean("bias", true, "of Wqkv and out_proj");
  // In the reference `bias` rules Wqkv alone.
  config.output_bias = config.bias || context.zoology;
  config.dropout = read_attention_dropout(options);
  return std::make_unique<Attention>(config, context, declarer);
}

}  // namespace

void register_attention(MixerRegistry& registry) {
  registry.add("attention",
               {"Causal softmax attention, multi-head (Vaswani et al. 2017): the positive control.",
                make_attention});
}

}  // namespace recallbench
