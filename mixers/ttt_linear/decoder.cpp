#include <algorithm>
#include <cmath>

#include "mixers/host_conv.h"
#include "mixers/host_math.h"
#include "mixers/ttt_linear/ttt.h"

namespace recallbench {
namespace {

constexpr double kEps = 1e-6;  // of every LayerNorm here

/// One head's inner model as flat numbers: W1 [in, out], b1 [out], then W2 and b2.
class InnerModel {
 public:
  InnerModel(std::size_t width, std::size_t hidden) : width_(width), hidden_(hidden) {}

  std::size_t size() const { return of_first() + (hidden_ > 0 ? (hidden_ + 1) * width_ : 0); }

  /// z = F_W(u), before its LayerNorm.
  std::vector<double> answer(std::span<const double> w, std::span<const double> u) const {
    const std::vector<double> z = apply(w, u, first_out());
    return hidden_ > 0 ? apply(w.subspan(of_first()), activated(z), width_) : z;
  }

  /// sum += ∂⟨g, F_W(k)⟩/∂W.
  void add_gradient(std::span<const double> w, std::span<const double> k, std::span<const double> g,
                    std::span<double> sum) const {
    if (hidden_ == 0) return add_outer(k, g, sum);
    const std::vector<double> z = apply(w, k, hidden_);
    std::vector<double> back(hidden_);
    for (std::size_t i = 0; i < hidden_; ++i)
      for (std::size_t j = 0; j < width_; ++j)
        back[i] += w[of_first() + i * width_ + j] * g[j] * host_gelu_tanh_slope(z[i]);
    add_outer(k, back, sum);
    add_outer(activated(z), g, sum.subspan(of_first()));
  }

 private:
  static std::vector<double> activated(std::vector<double> z) {
    std::transform(z.begin(), z.end(), z.begin(), host_gelu_tanh);
    return z;
  }

  std::size_t first_out() const { return hidden_ > 0 ? hidden_ : width_; }
  std::size_t of_first() const { return (width_ + 1) * first_out(); }

  /// u W + b of the layer that `w` begins with.
  static std::vector<double> apply(std::span<const double> w, std::span<const double> u,
                                   std::size_t out) {
    std::vector<double> z(w.begin() + static_cast<std::ptrdiff_t>(u.size() * out),
                          w.begin() + static_cast<std::ptrdiff_t>((u.size() + 1) * out));
    for (std::size_t i = 0; i < u.size(); ++i)
      for (std::size_t j = 0; j < out; ++j)
        z[j] += u[i] * w[i * out + j];
    return z;
  }
  static void add_outer(std::span<const double> u, std::span<const double> g,
                        std::span<double> sum) {
    for (std::size_t i = 0; i < u.size(); ++i)
      for (std::size_t j = 0; j < g.size(); ++j)
        sum[i * g.size() + j] += u[i] * g[j];
    for (std::size_t j = 0; j < g.size(); ++j)
      sum[u.size() * g.size() + j] += g[j];
  }

  std::size_t width_, hidden_;
};

/// State: the last K - 1 inputs of the convolutions (with share_qk), then for each head the weights
/// W_c of the mini-batch's start and what its tokens have added since: their summed gradient, or,
/// where that takes less, the pairs (k_j, η_j ∂ℓ_j/∂F(k_j)), from which it follows. Counter: the
/// place within the mini-batch.
class TttDecoder : public Decoder {
 public:
  TttDecoder(const TttConfig& config, const HostParameters& parameters)
      : c_(config),
        p_(parameters.below("ttt_layer.")),
        width_(to_size(config.head_dim())),
        model_(width_, to_size(config.hidden())),
        pairs_(2 * width_ * to_size(config.mini_batch - 1) < model_.size()),
        added_(pairs_ ? 2 * width_ * to_size(config.mini_batch - 1) : model_.size()) {}

  State start() const override {
    State state{std::vector<double>(window(), 0.0), {0}};
    for (std::size_t h = 0; h < to_size(c_.heads); ++h) {
      for (const char* name : {"W1", "b1", "W2", "b2"})
        if (c_.mlp || name[1] == '1') {
          const std::vector<double>& all = p_.at(name);
          const auto n = static_cast<std::ptrdiff_t>(all.size() / to_size(c_.heads));
          const auto from = all.begin() + static_cast<std::ptrdiff_t>(h) * n;
          state.numbers.insert(state.numbers.end(), from, from + n);
        }
      state.numbers.resize(state.numbers.size() + added_, 0.0);
    }
    return state;
  }

  void step(std::span<const double> x, State& state, std::span<double> y) const override {
    std::vector<double> q = host_linear(x, p_.at("q_proj.weight")), k;
    if (c_.share_qk) {
      std::vector<double> past(state.numbers.begin(),
                               state.numbers.begin() + static_cast<std::ptrdiff_t>(window()));
      k = host_causal_conv(q, p_.at("conv_k.weight"), p_.at("conv_k.bias"), past);
      q = host_causal_conv(q, p_.at("conv_q.weight"), p_.at("conv_q.bias"),
                           std::span(state.numbers).first(window()));
    } else {
      k = host_linear(x, p_.at("k_proj.weight"));
    }
    const std::vector<double> v = host_linear(x, p_.at("v_proj.weight"));
    const std::vector<double> rate =
        host_linear(x, p_.at("learnable_ttt_lr_weight"), p_.at("learnable_ttt_lr_bias"));
    const std::size_t place = to_size(state.counters[0]);
    turn(q, place);
    turn(k, place);
    std::vector<double> o(x.size());
    for (std::size_t h = 0; h < to_size(c_.heads); ++h) {
      const std::size_t size = model_.size() + added_;
      const auto part = [&](std::span<const double> all) {
        return all.subspan(h * width_, width_);
      };
      learn(h, place, c_.base_rate / static_cast<double>(width_) * host_sigmoid(rate[h]), part(q),
            part(k), part(v), std::span(state.numbers).subspan(window() + h * size, size),
            std::span(o).subspan(h * width_, width_));
    }
    state.counters[0] = static_cast<std::int64_t>((place + 1) % to_size(c_.mini_batch));
    output(x, o, y);
  }

 private:
  std::size_t window() const {
    return c_.share_qk ? to_size(c_.conv_width - 1) * to_size(c_.d_model) : 0;
  }

  /// Rotary position within the mini-batch (T13).
  void turn(std::vector<double>& x, std::size_t place) const {
    for (std::size_t i = 0; i < x.size() / 2; ++i) {
      const double within = static_cast<double>(i % (width_ / 2));
      const double angle = static_cast<double>(place) *
                           std::pow(c_.theta, -2 * within / static_cast<double>(width_));
      host_rotate(x[2 * i], x[2 * i + 1], angle);
    }
  }

  /// η ∂ℓ/∂z of ℓ = ½ |LN(z) - (v - k)|².
  std::vector<double> loss_gradient(std::span<const double> z, std::span<const double> norm,
                                    std::span<const double> norm_bias, std::span<const double> k,
                                    std::span<const double> v, double rate) const {
    const double n = static_cast<double>(width_);
    const std::vector<double> ones(width_, 1.0), zeros(width_, 0.0);
    const std::vector<double> normed = host_norm(z, ones, zeros, kEps);
    double mean = 0, var = 0, mean_r = 0, along = 0;
    for (const double value : z)
      mean += value / n;
    for (const double value : z)
      var += (value - mean) * (value - mean) / n;
    std::vector<double> r(width_);
    for (std::size_t j = 0; j < width_; ++j) {
      r[j] = (norm[j] * normed[j] + norm_bias[j] - (v[j] - k[j])) * norm[j];
      mean_r += r[j] / n;
      along += r[j] * normed[j] / n;
    }
    for (std::size_t j = 0; j < width_; ++j)
      r[j] = rate * (r[j] - mean_r - normed[j] * along) / std::sqrt(var + kEps);
    return r;
  }

  /// One token of head h: it trains the weights in `state`, then reads o = q + LN(F(q)) from them.
  void learn(std::size_t h, std::size_t place, double rate, std::span<const double> q,
             std::span<const double> k, std::span<const double> v, std::span<double> state,
             std::span<double> o) const {
    const std::span<double> w = state.first(model_.size()), added = state.subspan(model_.size());
    const auto norm = std::span(p_.at("ttt_norm_weight")).subspan(h * width_, width_);
    const auto norm_bias = std::span(p_.at("ttt_norm_bias")).subspan(h * width_, width_);
    const std::vector<double> g = loss_gradient(model_.answer(w, k), norm, norm_bias, k, v, rate);
    const bool last = place + 1 == to_size(c_.mini_batch);
    std::vector<double> sum(model_.size(), 0.0);
    if (pairs_)
      for (std::size_t j = 0; j < place; ++j)
        model_.add_gradient(w, added.subspan(2 * j * width_, width_),
                            added.subspan((2 * j + 1) * width_, width_), sum);
    else
      std::copy(added.begin(), added.end(), sum.begin());
    model_.add_gradient(w, k, g, sum);
    const double tau =
        std::max(1 / static_cast<double>(place + 1) + p_.at("learnable_token_idx")[place], 0.0);
    std::vector<double> now(w.begin(), w.end());
    for (std::size_t i = 0; i < now.size(); ++i)
      now[i] -= tau * sum[i];
    const std::vector<double> answer = host_norm(model_.answer(now, q), norm, norm_bias, kEps);
    for (std::size_t j = 0; j < width_; ++j)
      o[j] = q[j] + answer[j];
    if (last) {
      std::copy(now.begin(), now.end(), w.begin());
      std::fill(added.begin(), added.end(), 0.0);
    } else if (pairs_) {
      std::copy(k.begin(), k.end(),
                added.begin() + static_cast<std::ptrdiff_t>(2 * place * width_));
      std::copy(g.begin(), g.end(),
                added.begin() + static_cast<std::ptrdiff_t>((2 * place + 1) * width_));
    } else {
      std::copy(sum.begin(), sum.end(), added.begin());
    }
  }

  void output(std::span<const double> x, std::span<const double> o, std::span<double> y) const {
    std::vector<double> normed =
        host_norm(o, p_.at("post_norm.weight"), p_.at("post_norm.bias"), kEps);
    if (c_.gate) {
      const std::vector<double> gate = host_linear(x, p_.at("g_proj.weight"));
      for (std::size_t j = 0; j < gate.size(); ++j)
        normed[j] *= host_gelu_tanh(gate[j]);
    }
    const std::vector<double> out = host_linear(normed, p_.at("o_proj.weight"));
    std::copy(out.begin(), out.end(), y.begin());
  }

  TttConfig c_;
  HostParameters p_;
  std::size_t width_;
  InnerModel model_;
  bool pairs_;         // what the mini-batch adds is kept as pairs of its tokens
  std::size_t added_;  // numbers of that
};

}  // namespace

std::unique_ptr<Decoder> make_ttt_decoder(const TttConfig& config,
                                          const HostParameters& parameters) {
  return std::make_unique<TttDecoder>(config, parameters);
}

}  // namespace recallbench
