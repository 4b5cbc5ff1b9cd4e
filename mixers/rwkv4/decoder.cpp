#include <algorithm>
#include <limits>

#include "mixers/host_math.h"
#include "mixers/rwkv4/rwkv4_decoder.h"

namespace recallbench {
namespace {

/// ln(e^a + e^b); a may be -infinity.
double log_of_sum(double a, double b) {
  return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
}

/// State, D numbers each: the last x; the average a of the values so far; ln s, s the sum of its
/// weights. With w = -e^{time_decay}, u = time_first:
///   k, v, r = W (x ⊙ μ + x_{t-1} ⊙ (1 - μ)),   y = W_o (σ(r) ⊙ (s a + e^{u+k} v) / (s + e^{u+k})),
///   a ← (e^w s a + e^k v) / (e^w s + e^k),   s ← e^w s + e^k.
class Rwkv4Decoder : public Decoder {
 public:
  Rwkv4Decoder(Index d_model, const HostParameters& parameters)
      : d_(static_cast<std::size_t>(d_model)), p_(parameters) {}

  State start() const override {
    std::vector<double> numbers(3 * d_, 0.0);
    std::fill_n(numbers.begin() + static_cast<std::ptrdiff_t>(2 * d_), d_,
                -std::numeric_limits<double>::infinity());
    return {numbers, {}};
  }

  void step(std::span<const double> x, State& state, std::span<double> y) const override {
    const std::span<double> last = std::span(state.numbers).first(d_),
                            average = std::span(state.numbers).subspan(d_, d_),
                            log_sum = std::span(state.numbers).subspan(2 * d_, d_);
    const std::vector<double> k = mixed(x, last, "time_mix_k", "key.weight"),
                              v = mixed(x, last, "time_mix_v", "value.weight"),
                              r = mixed(x, last, "time_mix_r", "receptance.weight");
    std::vector<double> gated(d_);
    for (std::size_t c = 0; c < d_; ++c) {
      const double w = -std::exp(p_.at("time_decay")[c]), own = p_.at("time_first")[c] + k[c];
      const double total = log_of_sum(log_sum[c], own);
      gated[c] = host_sigmoid(r[c]) *
                 (std::exp(log_sum[c] - total) * average[c] + std::exp(own - total) * v[c]);
      const double next = log_of_sum(w + log_sum[c], k[c]);
      average[c] = std::exp(w + log_sum[c] - next) * average[c] + std::exp(k[c] - next) * v[c];
      log_sum[c] = next;
    }
    std::copy(x.begin(), x.end(), last.begin());
    const std::vector<double> out = host_linear(gated, p_.at("output.weight"));
    std::copy(out.begin(), out.end(), y.begin());
  }

 private:
  std::vector<double> mixed(std::span<const double> x, std::span<const double> last,
                            const std::string& share, const std::string& weight) const {
    const std::vector<double>& mu = p_.at(share);
    std::vector<double> both(d_);
    for (std::size_t c = 0; c < d_; ++c)
      both[c] = x[c] * mu[c] + last[c] * (1 - mu[c]);
    return host_linear(both, p_.at(weight));
  }

  std::size_t d_;
  HostParameters p_;
};

}  // namespace

std::unique_ptr<Decoder> make_rwkv4_decoder(Index d_model, const HostParameters& parameters) {
  return std::make_unique<Rwkv4Decoder>(d_model, parameters);
}

}  // namespace recallbench
