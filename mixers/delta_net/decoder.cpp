#include <algorithm>

#include "mixers/delta_net/delta_net.h"
#include "mixers/host_conv.h"
#include "mixers/host_math.h"

namespace recallbench {
namespace {

/// State: the last K-1 rows of q, k and v before their convolutions, each [K-1, width] oldest
/// first, then S [H, dk, dv].
class DeltaNetDecoder : public Decoder {
 public:
  DeltaNetDecoder(const DeltaNetConfig& config, const HostParameters& parameters)
      : c_(config),
        heads_(to_size(config.heads)),
        keys_(to_size(config.keys)),
        values_(to_size(config.values)),
        p_(parameters) {}

  State start() const override {
    const Index windows = c_.conv > 0 ? (2 * c_.key_dim() + c_.value_dim()) * (c_.conv - 1) : 0;
    return {std::vector<double>(to_size(windows + c_.state_numbers()), 0.0), {}};
  }

  void step(std::span<const double> x, State& state, std::span<double> y) const override {
    std::span<double> numbers = state.numbers;
    std::vector<double> q = project("q", x, numbers), k = project("k", x, numbers);
    std::vector<double> v = project("v", x, numbers);
    for (std::vector<double>* row : {&q, &k})
      for (std::size_t h = 0; h < heads_; ++h)
        normalise(std::span(*row).subspan(h * keys_, keys_));
    for (double& number : v)
      number = host_silu(number);
    const std::vector<double> beta =
        c_.beta ? host_linear(x, p_.at("b_proj.weight")) : std::vector<double>();
    const std::vector<double> dt =
        c_.decay ? host_linear(x, p_.at("a_proj.weight"), p_.at("dt_bias")) : beta;
    std::vector<double> recalled;
    for (std::size_t h = 0; h < heads_; ++h) {
      const double strength = (c_.beta ? host_sigmoid(beta[h]) : 1) * (c_.doubles_beta ? 2 : 1);
      const double decay =
          c_.decay ? std::exp(-std::exp(p_.at("A_log")[h]) * host_softplus(dt[h])) : 1;
      const std::vector<double> read =
          update(numbers.subspan(h * keys_ * values_, keys_ * values_),
                 std::span(q).subspan(h * keys_, keys_), std::span(k).subspan(h * keys_, keys_),
                 std::span(v).subspan(h * values_, values_), strength, decay);
      const std::vector<double> normed = host_norm(read, p_.at("o_norm.weight"), {}, c_.norm_eps);
      recalled.insert(recalled.end(), normed.begin(), normed.end());
    }
    if (c_.gate) {
      const std::vector<double> gate = host_linear(x, p_.at("g_proj.weight"));
      for (std::size_t i = 0; i < gate.size(); ++i)
        recalled[i] *= host_silu(gate[i]);
    }
    const std::vector<double> out = host_linear(recalled, p_.at("o_proj.weight"));
    std::copy(out.begin(), out.end(), y.begin());
  }

 private:
  /// The row of q, k or v before its activation. Takes its window off the front of `numbers`.
  std::vector<double> project(const std::string& name, std::span<const double> x,
                              std::span<double>& numbers) const {
    const std::vector<double> row = host_linear(x, p_.at(name + "_proj.weight"));
    if (c_.conv == 0) return row;
    const std::span<double> window = numbers.first(to_size(c_.conv - 1) * row.size());
    numbers = numbers.subspan(window.size());
    return host_causal_conv(row, p_.at(name + "_conv1d.weight"), {}, window);
  }

  /// Activation and norm of one head of q or k.
  void normalise(std::span<double> row) const {
    double sum = 0, square = 1e-6;
    for (double& v : row) {
      if (c_.activation == QkActivation::silu) v = host_silu(v);
      if (c_.activation == QkActivation::relu) v = std::max(v, 0.0);
      if (c_.activation == QkActivation::elu) v = v > 0 ? v + 1 : std::exp(v);
      sum += v;
      square += v * v;
    }
    for (double& v : row)
      v /= c_.norm == QkNorm::l2 ? std::sqrt(square) : sum;
  }

  /// S ← a S + β k (v - a Sᵀ k)ᵀ for one head; returns Sᵀ q / √dk.
  std::vector<double> update(std::span<double> state, std::span<const double> q,
                             std::span<const double> k, std::span<const double> v, double beta,
                             double decay) const {
    std::vector<double> read(values_, 0.0);
    for (std::size_t j = 0; j < values_; ++j) {
      double error = v[j];
      for (std::size_t i = 0; i < keys_; ++i) {
        state[i * values_ + j] *= decay;
        error -= state[i * values_ + j] * k[i];
      }
      for (std::size_t i = 0; i < keys_; ++i) {
        state[i * values_ + j] += beta * k[i] * error;
        read[j] += state[i * values_ + j] * q[i] / std::sqrt(static_cast<double>(keys_));
      }
    }
    return read;
  }

  DeltaNetConfig c_;
  std::size_t heads_, keys_, values_;
  HostParameters p_;
};

}  // namespace

std::unique_ptr<Decoder> make_delta_net_decoder(const DeltaNetConfig& config,
                                                const HostParameters& parameters) {
  return std::make_unique<DeltaNetDecoder>(config, parameters);
}

}  // namespace recallbench
