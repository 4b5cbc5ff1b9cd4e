#include "mixers/attention/cached_attention.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

class SlidingWindow : public CachedAttention {
 public:
  SlidingWindow(const CachedAttentionConfig& config, Index block_size, const MixerContext& context,
                ParameterDeclarer& declarer)
      : CachedAttention(config, context, declarer), block_size_(block_size) {}

  std::optional<double> published_state_size(Index) const override {
    return 4.0 * 2 * static_cast<double>(config().d_model * block_size_);
  }
  /// The state fills up to the window and then stays. The tiny MQAR has 32 tokens: a window that
  /// holds them recalls them all.
  Traits traits() const override {
    return {true, true, block_size_ >= 32 ? 0.9 : 0.0, 1.0, *config().window};
  }

 private:
  Index block_size_;
};

std::unique_ptr<SequenceMixer> make_sliding_window(const MixerContext& context, Options& options,
                                                   ParameterDeclarer& declarer) {
  CachedAttentionConfig config;
  config.d_model = context.d_model;
  const Index block_size =
      options.integer("block_size", 256, 1, 8192, "keys that a query sees, its own included");
  // Quirk Q13: the reference shows block_size keys besides the query's own.
  config.window = context.zoology ? block_size : block_size - 1;
  config.bias = options.boolean("bias", true, "of Wqkv and out_proj");
  config.output_bias = config.bias || context.zoology;
  config.dropout = read_attention_dropout(options);
  if (context.zoology)
    options.number("attention_dropout", 0.0, 0.0, 1.0, "taken and ignored, as the reference does");
  return std::make_unique<SlidingWindow>(config, block_size, context, declarer);
}

}  // namespace

void register_sliding_window(MixerRegistry& registry) {
  registry.add(
      "sliding_window",
      {"Softmax attention over the last block_size tokens, one head (Beltagy et al. 2020).",
       make_sliding_window,
       {{"Q13", "a window of W shows W keys besides the query's own",
         "W keys, its own included"}}});
}

}  // namespace recallbench
