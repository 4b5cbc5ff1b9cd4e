#include <algorithm>

#include "mixers/base_conv/base_conv.h"
#include "mixers/host_math.h"

namespace recallbench {
namespace {

/// y = conv(u) ⊙ (W u + b) + u, with the last inputs as state: taps - 1 of them for a short
/// filter, all of them for a long one.
class BaseConvDecoder : public Decoder {
 public:
  BaseConvDecoder(const BaseConvOptions& options, Index dim, const HostParameters& p, Index length)
      : options_(options),
        dim_(static_cast<std::size_t>(dim)),
        projection_(p.at("projection.weight")),
        projection_bias_(p.at("projection.bias")) {
    if (options.form == BaseConvForm::short_filter) {
      const auto k = static_cast<std::size_t>(options.kernel_size);
      const std::vector<double>& weight = p.at("conv.conv.weight");
      for (std::size_t back = 0; back < k; ++back)  // weight[c, K-1] meets the current input
        for (std::size_t c = 0; c < dim_; ++c)
          taps_.push_back(weight[c * k + k - 1 - back]);
      bias_ = p.at("conv.conv.bias");
    } else if (options.form == BaseConvForm::long_explicit) {
      const auto l_max = static_cast<std::size_t>(options.l_max);
      const std::vector<double>& filter = p.at("conv.filter");
      for (std::size_t back = 0; back < std::min(l_max, static_cast<std::size_t>(length)); ++back)
        for (std::size_t c = 0; c < dim_; ++c)
          taps_.push_back(filter[c * l_max + back]);
    } else {
      check_length("base_conv", "l_max", options.l_max, length);
      add_implicit_taps(p, length);
    }
  }

  State start() const override { return {}; }

  void step(std::span<const double> u, State& state, std::span<double> y) const override {
    std::vector<double>& past = state.numbers;  // oldest first
    past.insert(past.end(), u.begin(), u.end());
    const std::size_t held = past.size() / dim_, taps = taps_.size() / dim_;
    std::vector<double> conv = bias_.empty() ? std::vector<double>(dim_, 0.0) : bias_;
    for (std::size_t back = 0; back < std::min(held, taps); ++back)
      for (std::size_t c = 0; c < dim_; ++c)
        conv[c] += taps_[back * dim_ + c] * past[(held - 1 - back) * dim_ + c];
    const std::vector<double> gate = host_linear(u, projection_, projection_bias_);
    const bool is_long = options_.form != BaseConvForm::short_filter;
    for (std::size_t c = 0; c < dim_; ++c) {
      if (is_long) conv[c] += u[c];
      y[c] = options_.use_act ? host_silu(conv[c]) * host_silu(gate[c]) : conv[c] * gate[c];
      y[c] += u[c];
    }
    if (held >= taps)
      past.erase(past.begin(),
                 past.begin() + static_cast<std::ptrdiff_t>((held - taps + 1) * dim_));
  }

 private:
  /// k[t] = W2 relu(W0 z[t] + b0) + b2.
  void add_implicit_taps(const HostParameters& p, Index length) {
    const std::vector<double>& z = p.at("conv.pos_emb.z");
    for (Index t = 0; t < length; ++t) {
      std::vector<double> hidden =
          host_linear({z.data() + 3 * t, 3}, p.at("conv.mlp.0.weight"), p.at("conv.mlp.0.bias"));
      for (double& h : hidden)
        h = std::max(h, 0.0);
      const std::vector<double> tap =
          host_linear(hidden, p.at("conv.mlp.2.weight"), p.at("conv.mlp.2.bias"));
      taps_.insert(taps_.end(), tap.begin(), tap.end());
    }
  }

  BaseConvOptions options_;
  std::size_t dim_;
  std::vector<double> projection_, projection_bias_;
  std::vector<double> taps_;  // [taps, D], tap 0 meets the current input
  std::vector<double> bias_;
};

}  // namespace

std::unique_ptr<Decoder> make_base_conv_decoder(const BaseConvOptions& options,
                                                const MixerContext& context,
                                                const HostParameters& parameters, Index length) {
  return std::make_unique<BaseConvDecoder>(options, context.d_model, parameters, length);
}

}  // namespace recallbench
