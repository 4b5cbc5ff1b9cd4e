#include "mixers/hgrn2/hgrn2_decoder.h"
#include "mixers/host_math.h"

namespace recallbench {
namespace {

/// State: S [heads, keys, values]. Per head
///   f = λ + (1 - λ) σ(W_f x),   S ← diag(f) S + (1 - f) (W_i x)ᵀ,   o = Sᵀ SiLU(W_q x) / √keys,
///   out = W_o RMSNorm(o of all heads).
class Hgrn2Decoder : public Decoder {
 public:
  Hgrn2Decoder(const Hgrn2Sizes& sizes, const HostParameters& parameters)
      : s_(sizes),
        heads_(static_cast<std::size_t>(sizes.heads)),
        keys_(static_cast<std::size_t>(sizes.keys)),
        values_(static_cast<std::size_t>(sizes.values)),
        p_(parameters) {}

  State start() const override { return {std::vector<double>(heads_ * keys_ * values_, 0.0), {}}; }

  void step(std::span<const double> x, State& state, std::span<double> y) const override {
    const std::vector<double> q = host_linear(x, p_.at("q_proj.weight")),
                              gate = host_linear(x, p_.at("f_proj.weight")),
                              v = host_linear(x, p_.at("i_proj.weight"));
    std::vector<double> o(heads_ * values_, 0.0);
    for (std::size_t h = 0; h < heads_; ++h)
      for (std::size_t c = h * keys_; c < (h + 1) * keys_; ++c) {
        const double taken = (1 - s_.lower_bound) * host_sigmoid(-gate[c]);  // 1 - f
        for (std::size_t j = 0; j < values_; ++j) {
          double& number = state.numbers[c * values_ + j];
          number = (1 - taken) * number + taken * v[h * values_ + j];
          o[h * values_ + j] += number * host_silu(q[c]) / std::sqrt(static_cast<double>(keys_));
        }
      }
    const std::vector<double> out =
        host_linear(host_norm(o, p_.at("g_norm.weight"), {}, s_.norm_eps), p_.at("o_proj.weight"));
    std::copy(out.begin(), out.end(), y.begin());
  }

 private:
  Hgrn2Sizes s_;
  std::size_t heads_, keys_, values_;
  HostParameters p_;
};

}  // namespace

std::unique_ptr<Decoder> make_hgrn2_decoder(const Hgrn2Sizes& sizes,
                                            const HostParameters& parameters) {
  return std::make_unique<Hgrn2Decoder>(sizes, parameters);
}

}  // namespace recallbench
