#include <algorithm>
#include <cmath>

#include "mixers/attention/cached_attention.h"
#include "mixers/host_math.h"

namespace recallbench {
namespace {

/// State: the keys and values of the past tokens that a later one may see, [k_j, v_j] token by
/// token, oldest first.
class CachedAttentionDecoder : public Decoder {
 public:
  CachedAttentionDecoder(const CachedAttentionConfig& config, const HostParameters& parameters)
      : d_(static_cast<std::size_t>(config.d_model)),
        heads_(static_cast<std::size_t>(config.heads)),
        window_(config.window),
        wqkv_(parameters.at("Wqkv.weight")),
        wqkv_bias_(parameters.or_empty("Wqkv.bias")),
        out_(parameters.at("out_proj.weight")),
        out_bias_(parameters.or_empty("out_proj.bias")) {}

  State start() const override { return {}; }

  void step(std::span<const double> x, State& state, std::span<double> y) const override {
    const std::vector<double> qkv = host_linear(x, wqkv_, wqkv_bias_);
    std::vector<double>& cache = state.numbers;
    cache.insert(cache.end(), qkv.begin() + static_cast<std::ptrdiff_t>(d_), qkv.end());
    std::vector<double> o(d_);
    for (std::size_t h = 0; h < heads_; ++h)
      attend(qkv, cache, h, o);
    const std::vector<double> projected = host_linear(o, out_, out_bias_);
    std::copy(projected.begin(), projected.end(), y.begin());
    const std::size_t kept = window_ ? static_cast<std::size_t>(*window_) * 2 * d_ : cache.size();
    if (cache.size() > kept)
      cache.erase(cache.begin(), cache.end() - static_cast<std::ptrdiff_t>(kept));
  }

 private:
  /// Writes head h of o: the mean of the cached values under softmax_j(⟨q, k_j⟩ / sqrt(dh)).
  void attend(const std::vector<double>& q, const std::vector<double>& cache, std::size_t h,
              std::vector<double>& o) const {
    const std::size_t dh = d_ / heads_;
    std::vector<double> weight(cache.size() / (2 * d_), 0.0);
    double highest = -INFINITY, sum = 0;
    for (std::size_t j = 0; j < weight.size(); ++j) {
      for (std::size_t c = h * dh; c < (h + 1) * dh; ++c)
        weight[j] += q[c] * cache[j * 2 * d_ + c];
      weight[j] /= std::sqrt(static_cast<double>(dh));
      highest = std::max(highest, weight[j]);
    }
    for (double& w : weight)
      sum += w = std::exp(w - highest);
    for (std::size_t c = h * dh; c < (h + 1) * dh; ++c) {
      o[c] = 0;
      for (std::size_t j = 0; j < weight.size(); ++j)
        o[c] += weight[j] / sum * cache[(2 * j + 1) * d_ + c];
    }
  }

  std::size_t d_, heads_;
  std::optional<Index> window_;
  std::vector<double> wqkv_, wqkv_bias_, out_, out_bias_;
};

}  // namespace

std::unique_ptr<Decoder> make_cached_attention_decoder(const CachedAttentionConfig& config,
                                                       const HostParameters& parameters) {
  return std::make_unique<CachedAttentionDecoder>(config, parameters);
}

}  // namespace recallbench
