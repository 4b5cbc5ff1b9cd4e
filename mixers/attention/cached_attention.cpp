#include "mixers/attention/cached_attention.h"

#include <cmath>

#include "kernels/gather_rows/gather_rows.h"
#include "kernels/matmul/matmul.h"
#include "kernels/softmax_attention/softmax_attention.h"

namespace recallbench {

CachedAttention::CachedAttention(const CachedAttentionConfig& config, const MixerContext& context,
                                 ParameterDeclarer& declarer)
    : config_(config) {
  const Index d = config.d_model;
  wqkv_ = declarer.weight("Wqkv.weight", {3 * d, d}, context.linear_weight(d));
  if (config.bias) wqkv_bias_ = declarer.undecayed("Wqkv.bias", {3 * d}, constant(0));
  out_ = declarer.weight("out_proj.weight", {d, d}, context.residual_weight(d));
  if (config.output_bias) out_bias_ = declarer.undecayed("out_proj.bias", {d}, constant(0));
}

/// q [R, B, Lq, d], kv [R, B, L, 2d] → [R, B, Lq, d], out_proj included.
Tensor CachedAttention::attend(Forward& f, const Tensor& q, const Tensor& kv,
                               bool at_labels) const {
  const Index d = config_.d_model;
  const Tensor o =
      softmax_attention(f.graph(), q, kv.columns(0, d), kv.columns(d, d),
                        {config_.heads, 1 / std::sqrt(static_cast<double>(d / config_.heads)),
                         config_.window, config_.dropout, at_labels});
  return linear(f.graph(), o, f.parameter(out_), f.optional(out_bias_));
}

Tensor CachedAttention::forward(Forward& f, const Tensor& x) const {
  const Index d = config_.d_model;
  const Tensor qkv = f.linear_part(x, wqkv_, wqkv_bias_, 0, 3 * d);
  return attend(f, qkv.columns(0, d), qkv.columns(d, 2 * d), false);
}

Tensor CachedAttention::forward_rows(Forward& f, const Tensor& x, Index labels) const {
  const Index d = config_.d_model;
  const Tensor q = f.linear_part(gather_rows(f.graph(), x, labels), wqkv_, wqkv_bias_, 0, d);
  return attend(f, q, f.linear_part(x, wqkv_, wqkv_bias_, d, 2 * d), true);
}

std::unique_ptr<Decoder> CachedAttention::decoder(const HostParameters& parameters, Index) const {
  return make_cached_attention_decoder(config_, parameters);
}

double read_attention_dropout(Options& options) {
  const double p = options.number("dropout", 0.0, 0.0, 1.0, "dropout of the attention weights");
  if (p == 1) options.reject("dropout", "must be below 1: nothing would be left");
  return p;
}

}  // namespace recallbench
