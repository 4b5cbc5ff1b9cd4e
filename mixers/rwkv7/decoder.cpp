#include <algorithm>
#include <cmath>

#include "mixers/host_math.h"
#include "mixers/rwkv7/rwkv7_decoder.h"

namespace recallbench {
namespace {

/// State: the last x, then S [heads, keys, values]. Per head, with x_m = x + (x_{t-1} - x) ⊙
/// x_x[m],
///   r, k, v = W x_m,   ω = -e^{-1/2} σ(lora_w(x_w)),   a = σ(lora_a(x_a)),   g = lora_g(x_g),
///   κ = z / sqrt(Σ z² + 1e-6) with z = k ⊙ k_k,   k ← k ⊙ (1 + (a - 1) ⊙ k_a),
///   S ← diag(e^ω) S - (κ ⊙ a) (κᵀ S) + k vᵀ,
///   y = W_o ((GroupNorm(Sᵀ r) + (Σ r k r_k) v) ⊙ g).
class Rwkv7Decoder : public Decoder {
 public:
  Rwkv7Decoder(const Rwkv7Sizes& sizes, const HostParameters& parameters)
      : d_(static_cast<std::size_t>(sizes.d_model)),
        heads_(static_cast<std::size_t>(sizes.heads)),
        n_(static_cast<std::size_t>(sizes.head_numbers)),
        eps_(sizes.norm_eps),
        p_(parameters) {}

  State start() const override { return {std::vector<double>(d_ + d_ * n_, 0.0), {}}; }

  void step(std::span<const double> x, State& state, std::span<double> y) const override {
    const std::span<double> last = std::span(state.numbers).first(d_);
    Token t = read_token(x, last);
    std::copy(x.begin(), x.end(), last.begin());
    std::vector<double> out(d_);
    for (std::size_t h = 0; h < heads_; ++h) {
      const std::vector<double> kappa = removal(t.k, h);
      for (std::size_t c = h * n_; c < (h + 1) * n_; ++c)
        t.k[c] *= 1 + (t.a[c] - 1) * p_.at("k_a")[c];
      double* s = state.numbers.data() + d_ + h * n_ * n_;
      advance(t, kappa, h, s);
      read_head(t, h, s, out);
    }
    for (std::size_t c = 0; c < d_; ++c)
      out[c] *= t.g[c];
    const std::vector<double> projected = host_linear(out, p_.at("o_proj.weight"));
    std::copy(projected.begin(), projected.end(), y.begin());
  }

 private:
  struct Token {
    std::vector<double> r, decay, k, v, a, g;
  };

  Token read_token(std::span<const double> x, std::span<const double> last) const {
    const auto mixed = [&](Rwkv7Mix which) {
      std::vector<double> both(d_);
      for (std::size_t c = 0; c < d_; ++c)
        both[c] = x[c] + (last[c] - x[c]) * p_.at("x_x")[static_cast<std::size_t>(which) * d_ + c];
      return both;
    };
    Token t;
    t.r = host_linear(mixed(kR), p_.at("r_proj.weight"));
    t.k = host_linear(mixed(kK), p_.at("k_proj.weight"));
    t.v = host_linear(mixed(kV), p_.at("v_proj.weight"));
    t.decay = low_rank("w_lora", mixed(kW), [](double z) { return std::tanh(z); });
    t.a = low_rank("a_lora", mixed(kA), [](double z) { return z; });
    t.g = low_rank("g_lora", mixed(kG), host_sigmoid);
    for (double& decay : t.decay)
      decay = std::exp(-Rwkv7Sizes::decay_bound() * host_sigmoid(decay));
    for (double& a : t.a)
      a = host_sigmoid(a);
    return t;
  }

  template <class F>
  std::vector<double> low_rank(const std::string& name, std::span<const double> x, F inner) const {
    std::vector<double> low = host_linear(x, p_.at(name + ".lora.0.weight"));
    for (double& number : low)
      number = inner(number);
    return host_linear(low, p_.at(name + ".lora.2.weight"), p_.or_empty(name + ".lora.2.bias"));
  }

  /// κ of one head, of the keys as they are projected.
  std::vector<double> removal(const std::vector<double>& k, std::size_t head) const {
    std::vector<double> z(n_);
    double squares = 1e-6;
    for (std::size_t c = 0; c < n_; ++c) {
      z[c] = k[head * n_ + c] * p_.at("k_k")[head * n_ + c];
      squares += z[c] * z[c];
    }
    for (double& number : z)
      number /= std::sqrt(squares);
    return z;
  }

  void advance(const Token& t, const std::vector<double>& kappa, std::size_t head,
               double* s) const {
    for (std::size_t j = 0; j < n_; ++j) {
      double held = 0;
      for (std::size_t c = 0; c < n_; ++c)
        held += kappa[c] * s[c * n_ + j];
      for (std::size_t c = 0; c < n_; ++c) {
        const std::size_t channel = head * n_ + c;
        s[c * n_ + j] = t.decay[channel] * s[c * n_ + j] - kappa[c] * t.a[channel] * held +
                        t.k[channel] * t.v[head * n_ + j];
      }
    }
  }

  void read_head(const Token& t, std::size_t head, const double* s,
                 std::vector<double>& out) const {
    std::vector<double> o(n_, 0.0), weight(n_), bias(n_);
    double bonus = 0;
    for (std::size_t c = 0; c < n_; ++c) {
      const std::size_t channel = head * n_ + c;
      weight[c] = p_.at("g_norm.weight")[channel];
      bias[c] = p_.at("g_norm.bias")[channel];
      bonus += t.r[channel] * t.k[channel] * p_.at("r_k")[channel];
      for (std::size_t j = 0; j < n_; ++j)
        o[j] += s[c * n_ + j] * t.r[channel];
    }
    o = host_norm(o, weight, bias, eps_);
    for (std::size_t j = 0; j < n_; ++j)
      out[head * n_ + j] = o[j] + bonus * t.v[head * n_ + j];
  }

  std::size_t d_, heads_, n_;
  double eps_;
  HostParameters p_;
};

}  // namespace

double Rwkv7Sizes::decay_bound() {
  return std::exp(-0.5);
}

std::unique_ptr<Decoder> make_rwkv7_decoder(const Rwkv7Sizes& sizes,
                                            const HostParameters& parameters) {
  return std::make_unique<Rwkv7Decoder>(sizes, parameters);
}

}  // namespace recallbench
