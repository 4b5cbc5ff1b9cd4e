#include "mixers/host_conv.h"
#include "mixers/host_math.h"
#include "mixers/mamba/mamba_decoder.h"

namespace recallbench {
namespace {

/// State: the last K-1 inputs of the convolution, [K-1, d_inner] oldest first, then h [d_inner, N].
class MambaDecoder : public Decoder {
 public:
  MambaDecoder(const MambaSizes& sizes, const HostParameters& parameters)
      : inner_(to_size(sizes.inner)),
        states_(to_size(sizes.states)),
        conv_(to_size(sizes.conv)),
        rank_(to_size(sizes.rank)),
        p_(parameters) {}

  State start() const override {
    return {std::vector<double>(inner_ * (conv_ - 1) + inner_ * states_, 0.0), {}};
  }

  void step(std::span<const double> u, State& state, std::span<double> y) const override {
    const std::vector<double> xz =
        host_linear(u, p_.at("in_proj.weight"), p_.or_empty("in_proj.bias"));
    const std::span<double> window = std::span(state.numbers).first(inner_ * (conv_ - 1));
    const std::span<double> h = std::span(state.numbers).subspan(window.size());
    std::vector<double> x = host_causal_conv(std::span(xz).first(inner_), p_.at("conv1d.weight"),
                                             p_.or_empty("conv1d.bias"), window);
    for (double& v : x)
      v = host_silu(v);
    const std::vector<double> token = host_linear(x, p_.at("x_proj.weight"));
    const std::vector<double> dt =
        host_linear(std::span(token).first(rank_), p_.at("dt_proj.weight"), p_.at("dt_proj.bias"));
    const std::vector<double>& a_log = p_.at("A_log");
    const std::vector<double>& skip = p_.at("D");
    std::vector<double> gated(inner_);
    for (std::size_t c = 0; c < inner_; ++c) {
      const double delta = host_softplus(dt[c]);
      double sum = skip[c] * x[c];
      for (std::size_t n = 0; n < states_; ++n) {
        const double a = -std::exp(a_log[c * states_ + n]);
        const double b = token[rank_ + n], out = token[rank_ + states_ + n];
        double& number = h[c * states_ + n];
        number = std::exp(delta * a) * number + delta * b * x[c];
        sum += out * number;
      }
      gated[c] = sum * host_silu(xz[inner_ + c]);
    }
    const auto out = host_linear(gated, p_.at("out_proj.weight"), p_.or_empty("out_proj.bias"));
    std::copy(out.begin(), out.end(), y.begin());
  }

 private:
  std::size_t inner_, states_, conv_, rank_;
  HostParameters p_;
};

}  // namespace

std::unique_ptr<Decoder> make_mamba_decoder(const MambaSizes& sizes,
                                            const HostParameters& parameters) {
  return std::make_unique<MambaDecoder>(sizes, parameters);
}

}  // namespace recallbench
