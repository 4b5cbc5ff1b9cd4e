#include <algorithm>
#include <cmath>

#include "mixers/host_conv.h"
#include "mixers/host_math.h"
#include "mixers/hyena/hyena.h"

namespace recallbench {
namespace {

/// State: the last inputs of the short convolution, [K - 1, 3 d] oldest first, then all gated
/// values v ⊙ x1 so far that a later token can reach.
class HyenaDecoder : public Decoder {
 public:
  HyenaDecoder(const HyenaOptions& options, const HostParameters& p, Index length)
      : options_(options),
        p_(p),
        dim_(static_cast<std::size_t>(options.d_model)),
        window_(3 * dim_ * static_cast<std::size_t>(options.short_filter - 1)) {
    check_length("hyena", "l_max", options.l_max, length);
    for (Index t = 0; t < length; ++t)
      add_tap(static_cast<std::size_t>(t));
  }

  State start() const override { return {std::vector<double>(window_, 0.0), {}}; }

  void step(std::span<const double> u, State& state, std::span<double> y) const override {
    const std::vector<double> c =
        host_causal_conv(host_linear(u, p_.at("in_proj.weight"), p_.at("in_proj.bias")),
                         p_.at("short_filter.weight"), p_.at("short_filter.bias"),
                         std::span(state.numbers).first(window_));
    std::vector<double>& all = state.numbers;
    for (std::size_t i = 0; i < dim_; ++i)
      all.push_back(c[i] * c[2 * dim_ + i]);
    const std::size_t held = (all.size() - window_) / dim_, taps = taps_.size() / dim_;
    std::vector<double> gated(dim_, 0.0);
    for (std::size_t i = 0; options_.bias && i < dim_; ++i)
      gated[i] = p_.at("filter_fn.bias")[i] * all[all.size() - dim_ + i];
    for (std::size_t back = 0; back < std::min(held, taps); ++back) {
      const double *tap = &taps_[back * dim_], *past = &all[all.size() - (back + 1) * dim_];
      for (std::size_t i = 0; i < dim_; ++i)
        gated[i] += tap[i] * past[i];
    }
    for (std::size_t i = 0; i < dim_; ++i)
      gated[i] *= c[dim_ + i];
    const auto out = host_linear(gated, p_.at("out_proj.weight"), p_.at("out_proj.bias"));
    std::copy(out.begin(), out.end(), y.begin());
    if (held >= taps) {
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(window_);
      all.erase(first, first + static_cast<std::ptrdiff_t>((held - taps + 1) * dim_));
    }
  }

 private:
  /// h[t] = network(z[t]) ⊙ (exp(-τ_t |δ|) + shift).
  void add_tap(std::size_t t) {
    const auto features = static_cast<std::size_t>(options_.features);
    const auto z = std::span(p_.at("filter_fn.pos_emb.z")).subspan(t * features, features);
    std::vector<double> a(z.begin(), z.end());
    for (Index layer = 0; layer <= options_.hidden; ++layer) {
      a = host_linear(a, p_.at(hyena_layer_name(layer, "weight")),
                      p_.at(hyena_layer_name(layer, "bias")));
      for (std::size_t j = 0; j < a.size(); ++j)
        a[j] = std::sin(p_.at("filter_fn.implicit_filter.1.freq")[j] * a[j]);
    }
    std::vector<double> tap =
        host_linear(a, p_.at(hyena_layer_name(options_.hidden + 1, "weight")));
    const double time = p_.at("filter_fn.pos_emb.t")[t];
    for (std::size_t i = 0; options_.modulate && i < dim_; ++i)
      tap[i] *=
          std::exp(-time * std::abs(p_.at("filter_fn.modulation.deltas")[i])) + options_.shift;
    taps_.insert(taps_.end(), tap.begin(), tap.end());
  }

  HyenaOptions options_;
  HostParameters p_;
  std::size_t dim_, window_;
  std::vector<double> taps_;  // [length, D], tap 0 meets the current token
};

}  // namespace

std::unique_ptr<Decoder> make_hyena_decoder(const HyenaOptions& options,
                                            const HostParameters& parameters, Index length) {
  return std::make_unique<HyenaDecoder>(options, parameters, length);
}

}  // namespace recallbench
