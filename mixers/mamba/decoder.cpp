#include "mixers/host_math.h"
#include "mixers/mamba/mamba_decoder.h"

namespace recallbench {
namespace {

/// State: the last K-1 inputs of the convolution, [K-1, d_inner] oldest first, then h [d_inner, N].
class MambaDecoder : public Decoder {
 public:
  MambaDecoder(const MambaSizes& sizes, const HostParameters& parameters)
      : inner_(at(sizes.inner)),
        states_(at(sizes.states)),
        conv_(at(sizes.conv)),
        rank_(at(sizes.rank)),
        p_(parameters) {}

  State start() const override {
    return {std::vector<double>(inner_ * (conv_ - 1) + inner_ * states_, 0.0), {}};
  }

  void step(std::span<const double> u, State& state, std::span<double> y) const override {
    const std::vector<double> xz = host_linear(u, p_.at("in_proj.weight"), bias("in_proj.bias"));
    const std::span<double> window = std::span(state.numbers).first(inner_ * (conv_ - 1));
    const std::span<double> h = std::span(state.numbers).subspan(window.size());
    const std::vector<double> x = convolve(std::span(xz).first(inner_), window);
    const std::vector<double> token = host_linear(x, p_.at("x_proj.weight"));
    const std::vector<double> dt =
        host_linear(std::span(token).first(rank_), p_.at("dt_proj.weight"), p_.at("dt_proj.bias"));
    std::vector<double> gated(inner_);
    for (std::size_t c = 0; c < inner_; ++c) {
      const double delta = host_softplus(dt[c]);
      double sum = p_.at("D")[c] * x[c];
      for (std::size_t n = 0; n < states_; ++n) {
        const double a = -std::exp(p_.at("A_log")[c * states_ + n]);
        const double b = token[rank_ + n], out = token[rank_ + states_ + n];
        double& number = h[c * states_ + n];
        number = std::exp(delta * a) * number + delta * b * x[c];
        sum += out * number;
      }
      gated[c] = sum * host_silu(xz[inner_ + c]);
    }
    const auto out = host_linear(gated, p_.at("out_proj.weight"), bias("out_proj.bias"));
    std::copy(out.begin(), out.end(), y.begin());
  }

 private:
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }

  std::span<const double> bias(const std::string& name) const {
    const auto found = p_.all().find(name);
    return found == p_.all().end() ? std::span<const double>{} : std::span(found->second);
  }

  /// SiLU of the convolution at this token; the window then holds it.
  std::vector<double> convolve(std::span<const double> x, std::span<double> window) const {
    const std::vector<double>& weight = p_.at("conv1d.weight");
    const std::span<const double> offset = bias("conv1d.bias");
    std::vector<double> out(inner_);
    for (std::size_t c = 0; c < inner_; ++c) {
      double sum = (offset.empty() ? 0 : offset[c]) + weight[c * conv_ + conv_ - 1] * x[c];
      for (std::size_t j = 0; j + 1 < conv_; ++j)
        sum += weight[c * conv_ + j] * window[j * inner_ + c];
      out[c] = host_silu(sum);
    }
    if (conv_ > 1) {
      std::copy(window.begin() + static_cast<std::ptrdiff_t>(inner_), window.end(), window.begin());
      std::copy(x.begin(), x.end(), window.end() - static_cast<std::ptrdiff_t>(inner_));
    }
    return out;
  }

  std::size_t inner_, states_, conv_, rank_;
  HostParameters p_;
};

}  // namespace

std::unique_ptr<Decoder> make_mamba_decoder(const MambaSizes& sizes,
                                            const HostParameters& parameters) {
  return std::make_unique<MambaDecoder>(sizes, parameters);
}

}  // namespace recallbench
