#include "mixers/host_conv.h"
#include "mixers/host_math.h"
#include "mixers/mamba2/mamba2_decoder.h"

namespace recallbench {
namespace {

/// State: the last K-1 inputs of the convolution, oldest first, then S [H, P, N].
class Mamba2Decoder : public Decoder {
 public:
  Mamba2Decoder(const Mamba2Sizes& sizes, const HostParameters& parameters)
      : size_(sizes), p_(parameters) {}

  State start() const override {
    return {std::vector<double>(to_size(window() + size_.inner * size_.states), 0.0), {}};
  }

  void step(std::span<const double> u, State& state, std::span<double> y) const override {
    const std::vector<double> in =
        host_linear(u, p_.at("in_proj.weight"), p_.or_empty("in_proj.bias"));
    const auto z = std::span(in).first(to_size(size_.inner));
    const auto dt = std::span(in).last(to_size(size_.heads()));
    std::vector<double> xbc = host_causal_conv(
        std::span(in).subspan(z.size(), to_size(size_.convolved())), p_.at("conv1d.weight"),
        p_.or_empty("conv1d.bias"), std::span(state.numbers).first(to_size(window())));
    for (double& v : xbc)
      v = host_silu(v);
    std::vector<double> mixed = recur(xbc, dt, std::span(state.numbers).subspan(to_size(window())));
    gate(z, mixed);
    const auto out = host_linear(mixed, p_.at("out_proj.weight"), p_.or_empty("out_proj.bias"));
    std::copy(out.begin(), out.end(), y.begin());
  }

 private:
  Index window() const { return size_.convolved() * (size_.conv - 1); }

  /// S = a S + Δ x bᵀ, y = S c + D x in each head.
  std::vector<double> recur(std::span<const double> xbc, std::span<const double> dt,
                            std::span<double> s) const {
    const std::size_t heads = to_size(size_.heads()), channels = to_size(size_.head_dim);
    const std::size_t states = to_size(size_.states), in_group = heads / to_size(size_.groups);
    const std::vector<double>& skip = p_.at("D");
    std::vector<double> y(to_size(size_.inner));
    for (std::size_t h = 0; h < heads; ++h) {
      const double delta = host_softplus(dt[h] + p_.at("dt_bias")[h]);
      const double decay = std::exp(-std::exp(p_.at("A_log")[h]) * delta);
      const auto b = xbc.subspan(to_size(size_.inner) + h / in_group * states, states);
      const auto c =
          xbc.subspan(to_size(size_.inner + size_.tokens()) + h / in_group * states, states);
      for (std::size_t p = 0; p < channels; ++p) {
        const std::size_t i = h * channels + p;
        y[i] = skip[skip.size() == heads ? h : i] * xbc[i];
        for (std::size_t n = 0; n < states; ++n) {
          double& number = s[i * states + n];
          number = decay * number + delta * b[n] * xbc[i];
          y[i] += c[n] * number;
        }
      }
    }
    return y;
  }

  /// The gate SiLU(z), before or after an RMSNorm over the channels of each group.
  void gate(std::span<const double> z, std::vector<double>& y) const {
    const bool first = !(size_.rms_norm && size_.norm_before_gate);
    const auto multiply = [&] {
      for (std::size_t i = 0; i < y.size(); ++i)
        y[i] *= host_silu(z[i]);
    };
    if (first) multiply();
    if (size_.rms_norm) {
      const std::size_t width = y.size() / to_size(size_.groups);
      for (std::size_t from = 0; from < y.size(); from += width) {
        const auto normed = host_norm(std::span(y).subspan(from, width),
                                      std::span(p_.at("norm.weight")).subspan(from, width), {});
        std::copy(normed.begin(), normed.end(), y.begin() + static_cast<std::ptrdiff_t>(from));
      }
    }
    if (!first) multiply();
  }

  Mamba2Sizes size_;
  HostParameters p_;
};

}  // namespace

std::unique_ptr<Decoder> make_mamba2_decoder(const Mamba2Sizes& sizes,
                                             const HostParameters& parameters) {
  return std::make_unique<Mamba2Decoder>(sizes, parameters);
}

}  // namespace recallbench
