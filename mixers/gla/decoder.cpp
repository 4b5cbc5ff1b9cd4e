#include <algorithm>
#include <cmath>

#include "mixers/gla/gla.h"
#include "mixers/host_conv.h"
#include "mixers/host_math.h"

namespace recallbench {
namespace {

/// State: S [state_heads, keys, values], then the last inputs of the short convolutions of q, k
/// and v, [width - 1, channels] each, oldest first. Per head
///   S ← diag(decay) S + k vᵀ,   o = Sᵀ q / √keys,
///   out = W_o [RMSNorm(o) of all heads ⊙ gate(W_g x)].
class GlaDecoder : public Decoder {
 public:
  GlaDecoder(const GlaSizes& sizes, const HostParameters& parameters)
      : s_(sizes),
        heads_(to_size(sizes.heads)),
        state_heads_(to_size(sizes.state_heads)),
        keys_(to_size(sizes.keys)),
        values_(to_size(sizes.values)),
        p_(parameters) {}

  State start() const override {
    const std::size_t channels = heads_ * keys_ + state_heads_ * (keys_ + values_);
    const std::size_t windows = s_.conv > 0 ? to_size(s_.conv - 1) * channels : 0;
    return {std::vector<double>(state_heads_ * keys_ * values_ + windows, 0.0), {0}};
  }

  void step(std::span<const double> x, State& state, std::span<double> y) const override {
    const auto position = static_cast<double>(state.counters[0]++);
    std::span<double> windows = std::span(state.numbers).subspan(state_heads_ * keys_ * values_);
    std::vector<double> q = project(x, "q", windows), k = project(x, "k", windows),
                        v = project(x, "v", windows);
    for (std::vector<double>* addresses : {&q, &k}) {
      if (s_.feature_map)
        for (double& number : *addresses)
          number = host_activate(*s_.feature_map, number);
      if (s_.decay == HeadDecay::fixed_rate) turn(*addresses, position);
    }
    const std::vector<double> decay = decays(x);
    double* const states = state.numbers.data();
    for (std::size_t n = 0; n < state_heads_; ++n)
      for (std::size_t c = n * keys_; c < (n + 1) * keys_; ++c)
        for (std::size_t j = 0; j < values_; ++j)
          states[c * values_ + j] = decay[c] * states[c * values_ + j] + k[c] * v[n * values_ + j];
    const std::vector<double> out =
        host_linear(gated_heads(x, read(q, states)), p_.at("o_proj.weight"));
    std::copy(out.begin(), out.end(), y.begin());
  }

 private:
  /// x's projection; where there are convolutions, the SiLU of its own, whose window is taken off
  /// the front of `windows` and moves on by a token.
  std::vector<double> project(std::span<const double> x, const std::string& name,
                              std::span<double>& windows) const {
    const std::vector<double> projected = host_linear(x, p_.at(name + "_proj.weight"));
    if (s_.conv == 0) return projected;
    const std::span<double> window = windows.first(to_size(s_.conv - 1) * projected.size());
    windows = windows.subspan(window.size());
    std::vector<double> y = host_causal_conv(projected, p_.at(name + "_conv1d.weight"), {}, window);
    for (double& number : y)
      number = host_silu(number);
    return y;
  }

  /// Rotary position: in each head the pair (i, i + keys / 2) turns by position · 10000^(-2i/keys).
  void turn(std::vector<double>& x, double position) const {
    const std::size_t half = keys_ / 2;
    for (std::size_t first = 0; first < x.size(); first += keys_)
      for (std::size_t i = 0; i < half; ++i) {
        const double angle = position * std::pow(10000.0, -2.0 * static_cast<double>(i) /
                                                              static_cast<double>(keys_));
        host_rotate(x[first + i], x[first + half + i], angle);
      }
  }

  /// Of every key of every state.
  std::vector<double> decays(std::span<const double> x) const {
    std::vector<double> decay(state_heads_ * keys_);
    if (s_.decay == HeadDecay::fixed_rate) {
      for (std::size_t c = 0; c < decay.size(); ++c)
        decay[c] = GlaSizes::rate(static_cast<Index>(c / keys_));
      return decay;
    }
    const std::vector<double> gate =
        host_linear(host_linear(x, p_.at("gk_proj.0.weight")), p_.at("gk_proj.1.weight"),
                    p_.at("gk_proj.1.bias"));
    for (std::size_t c = 0; c < decay.size(); ++c)
      decay[c] = std::exp(std::max(std::log(host_sigmoid(gate[c])) / s_.divisor, s_.clamp_min));
    return decay;
  }

  /// o = Sᵀ q / √keys of every head; query head h reads state h / (heads / state_heads).
  std::vector<double> read(std::span<const double> q, const double* states) const {
    std::vector<double> o(heads_ * values_);
    for (std::size_t h = 0; h < heads_; ++h) {
      const double* s = states + h / (heads_ / state_heads_) * keys_ * values_;
      for (std::size_t j = 0; j < values_; ++j) {
        double sum = 0;
        for (std::size_t c = 0; c < keys_; ++c)
          sum += s[c * values_ + j] * q[h * keys_ + c];
        o[h * values_ + j] = sum / std::sqrt(static_cast<double>(keys_));
      }
    }
    return o;
  }

  std::vector<double> gated_heads(std::span<const double> x, std::span<const double> o) const {
    std::vector<double> y;
    for (std::size_t h = 0; h < heads_; ++h) {
      const auto normalised =
          host_norm(o.subspan(h * values_, values_), p_.at(s_.norm_name), {}, s_.norm_eps);
      y.insert(y.end(), normalised.begin(), normalised.end());
    }
    if (!s_.gate) return y;
    const std::vector<double> gate = host_linear(x, p_.at("g_proj.weight"));
    for (std::size_t i = 0; i < y.size(); ++i)
      y[i] *= host_activate(*s_.gate, gate[i]);
    return y;
  }

  GlaSizes s_;
  std::size_t heads_, state_heads_, keys_, values_;
  HostParameters p_;
};

}  // namespace

std::unique_ptr<Decoder> make_gla_decoder(const GlaSizes& sizes, const HostParameters& parameters) {
  return std::make_unique<GlaDecoder>(sizes, parameters);
}

}  // namespace recallbench
