#include <algorithm>
#include <cmath>

#include "mixers/host_math.h"
#include "mixers/selective_attention/selective_attention.h"

namespace recallbench {
namespace {

/// State: with `softmax` the logarithm of Σ e^z so far, then the cache of the attention.
class SelectiveAttentionDecoder : public Decoder {
 public:
  SelectiveAttentionDecoder(const SelectiveAttentionConfig& config,
                            const HostParameters& parameters)
      : selection_(config.selection),
        attention_(make_cached_attention_decoder(config.attention, parameters)),
        p_(parameters) {}

  State start() const override {
    State state = attention_->start();
    if (selection_ == Selection::softmax) state.numbers.insert(state.numbers.begin(), -INFINITY);
    return state;
  }

  void step(std::span<const double> x, State& state, std::span<double> y) const override {
    const std::ptrdiff_t own = selection_ == Selection::softmax ? 1 : 0;
    State cache{{state.numbers.begin() + own, state.numbers.end()}, {}};
    std::vector<double> a(x.size());
    attention_->step(x, cache, a);
    const double s = share(x, state.numbers);
    state.numbers.resize(static_cast<std::size_t>(own));
    state.numbers.insert(state.numbers.end(), cache.numbers.begin(), cache.numbers.end());
    for (std::size_t j = 0; j < x.size(); ++j)
      y[j] = x[j] + s * a[j];
  }

 private:
  /// T4: with `softmax` of the tokens so far, otherwise 0 where it is not above 1/2.
  double share(std::span<const double> x, std::vector<double>& numbers) const {
    if (selection_ == Selection::softmax) {
      const double z = host_linear(x, p_.at("selecting.weight"), p_.at("selecting.bias"))[0];
      const double high = std::max(numbers[0], z);
      numbers[0] = high + std::log(std::exp(numbers[0] - high) + std::exp(z - high));
      return std::exp(z - numbers[0]);
    }
    double s;
    if (selection_ == Selection::sigmoid) {
      s = host_sigmoid(host_linear(x, p_.at("selecting.weight"))[0]);
    } else {
      const std::vector<double> z =
          host_linear(x, p_.at("selection_proj.weight"), p_.at("selection_proj.bias"));
      s = host_sigmoid((z[1] - z[0]) / p_.at("temperature")[0]);
    }
    return s > 0.5 ? s : 0;
  }

  Selection selection_;
  std::unique_ptr<Decoder> attention_;
  HostParameters p_;
};

}  // namespace

std::unique_ptr<Decoder> make_selective_attention_decoder(const SelectiveAttentionConfig& config,
                                                          const HostParameters& parameters) {
  return std::make_unique<SelectiveAttentionDecoder>(config, parameters);
}

}  // namespace recallbench
