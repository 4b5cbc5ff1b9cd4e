#pragma once

#include <optional>

#include "mixers/mixer.h"

namespace recallbench {

/// What `attention` and `sliding_window` differ in.
struct CachedAttentionConfig {
  Index d_model = 0, heads = 1;
  bool bias = true;             ///< of Wqkv
  bool output_bias = true;      ///< of out_proj
  double dropout = 0;           ///< of the probabilities
  std::optional<Index> window;  ///< keys back that a query sees besides its own; none: all
};

/// Causal softmax attention over a cache of keys and values, between the projections `Wqkv` (rows:
/// q, k, v, each head after head) and `out_proj`.
class CachedAttention : public SequenceMixer {
 public:
  CachedAttention(const CachedAttentionConfig& config, const MixerContext& context,
                  ParameterDeclarer& declarer);
  Tensor forward(Forward& f, const Tensor& x) const override;
  /// Queries are computed at the labelled rows alone.
  Tensor forward_rows(Forward& f, const Tensor& x, Index labels) const override;
  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index length) const override;

 protected:
  const CachedAttentionConfig& config() const { return config_; }

 private:
  Tensor attend(Forward& f, const Tensor& q, const Tensor& kv, bool at_labels) const;

  CachedAttentionConfig config_;
  Parameter wqkv_, wqkv_bias_, out_, out_bias_;
};

/// The definition, in decoder.cpp.
std::unique_ptr<Decoder> make_cached_attention_decoder(const CachedAttentionConfig& config,
                                                       const HostParameters& parameters);

/// Reads `dropout`, a probability below 1.
double read_attention_dropout(Options& options);

}  // namespace recallbench
