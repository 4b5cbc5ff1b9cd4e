#include <algorithm>
#include <cmath>

#include "mixers/host_math.h"
#include "mixers/nsa/nsa.h"

namespace recallbench {
namespace {

/// State: keys (before their rotation) and values of all tokens, [k_j, v_j] token by token, since a
/// later token may choose any block; then the compressed pairs of complete blocks, [k_w, v_w].
/// Counter: the tokens so far.
class NsaDecoder : public Decoder {
 public:
  NsaDecoder(const NsaConfig& config, const HostParameters& parameters)
      : c_(config),
        p_(parameters),
        width_(to_size(config.head_dim())),
        pair_(to_size(2 * config.kv_dim())) {}

  State start() const override { return {{}, {0}}; }

  void step(std::span<const double> x, State& state, std::span<double> y) const override {
    const Index t = state.counters[0]++;
    const std::vector<double> normed = c_.norm ? host_norm(x, p_.at("norm.weight"), {}, kNsaEps)
                                               : std::vector<double>(x.begin(), x.end());
    const std::vector<double> qkv = host_linear(normed, p_.at("to_qkv.weight"));
    state.numbers.insert(state.numbers.begin() + at_token(t),
                         qkv.begin() + static_cast<std::ptrdiff_t>(x.size()), qkv.end());
    const std::span<const double> cache = std::span(state.numbers).first(to_size(t + 1) * pair_);
    // Blocks before this token's: what it completes is seen by later ones alone.
    const std::span<const double> blocks = std::span(state.numbers).subspan(cache.size());
    std::vector<double> gates = host_linear(normed, p_.at("to_strategy_combine.0.weight"),
                                            p_.at("to_strategy_combine.0.bias"));
    std::transform(gates.begin(), gates.end(), gates.begin(), host_sigmoid);
    std::vector<double> o(x.size());
    for (Index h = 0; h < c_.heads; ++h) {
      const std::vector<double> turned =
          turn(std::span(qkv).subspan(to_size(h) * width_, width_), t);
      const std::vector<double> branches[] = {
          compressed(qkv, blocks, h), attend(turned, cache, h, chosen(choose(qkv, blocks, h), t)),
          attend(turned, cache, h, range(std::max<Index>(0, t - c_.back), t + 1))};
      for (std::size_t s = 0; s < 3; ++s)
        for (std::size_t j = 0; j < width_; ++j)
          o[to_size(h) * width_ + j] += gates[3 * to_size(h) + s] * branches[s][j];
    }
    const std::vector<double> out = host_linear(o, p_.at("combine_heads.weight"));
    std::copy(out.begin(), out.end(), y.begin());
    if ((t + 1) % c_.block == 0) compress(state.numbers, t + 1);
  }

 private:
  std::ptrdiff_t at_token(Index t) const { return static_cast<std::ptrdiff_t>(to_size(t) * pair_); }
  Index kv_head(Index h) const { return h / (c_.heads / c_.kv_heads); }

  static std::vector<Index> range(Index first, Index end) {
    std::vector<Index> all;
    for (Index j = first; j < end; ++j)
      all.push_back(j);
    return all;
  }
  /// The tokens of the chosen blocks, and of t's own block those up to t.
  std::vector<Index> chosen(const std::vector<Index>& blocks, Index t) const {
    std::vector<Index> tokens = range(t / c_.block * c_.block, t + 1);
    for (const Index w : blocks)
      for (Index j = w * c_.block; j < (w + 1) * c_.block; ++j)
        tokens.push_back(j);
    return tokens;
  }

  /// A head's numbers, turned to position t in pairs of neighbours.
  std::vector<double> turn(std::span<const double> x, Index t) const {
    std::vector<double> y(x.begin(), x.end());
    for (std::size_t i = 0; i < x.size() / 2; ++i)
      host_rotate(y[2 * i], y[2 * i + 1], static_cast<double>(t) * p_.at("rotary_emb.freqs")[i]);
    return y;
  }

  /// Numbers of head h's key (side 0) or value (1) in pair j of `pairs`.
  std::span<const double> part(std::span<const double> pairs, Index j, Index h, Index side) const {
    return pairs.subspan(
        to_size(j) * pair_ + to_size(side * c_.kv_dim()) + to_size(kv_head(h)) * width_, width_);
  }

  double score(std::span<const double> q, std::span<const double> k) const {
    double sum = 0;
    for (std::size_t j = 0; j < width_; ++j)
      sum += q[j] * k[j];
    return sum / std::sqrt(static_cast<double>(width_));
  }

  std::vector<double> weighted_mean(const std::vector<double>& scores,
                                    const std::vector<std::span<const double>>& values) const {
    const double highest = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    std::vector<double> mean(width_);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const double weight = std::exp(scores[i] - highest);
      sum += weight;
      for (std::size_t j = 0; j < width_; ++j)
        mean[j] += weight * values[i][j];
    }
    for (double& m : mean)
      m /= sum;
    return mean;
  }

  /// Attention of a turned query over the given tokens of the cache.
  std::vector<double> attend(std::span<const double> q, std::span<const double> cache, Index h,
                             const std::vector<Index>& tokens) const {
    std::vector<double> scores;
    std::vector<std::span<const double>> values;
    for (const Index j : tokens) {
      scores.push_back(score(q, turn(part(cache, j, h, 0), j)));
      values.push_back(part(cache, j, h, 1));
    }
    return weighted_mean(scores, values);
  }

  /// Attention over the learned pairs and the compressed blocks.
  std::vector<double> compressed(std::span<const double> qkv, std::span<const double> blocks,
                                 Index h) const {
    const std::span<const double> q = qkv.subspan(to_size(h) * width_, width_);
    const std::span<const double> memory = p_.at("compress_mem_kv");
    std::vector<double> scores;
    std::vector<std::span<const double>> values;
    for (Index m = 0; m < c_.memory; ++m) {
      const std::size_t from = to_size(kv_head(h) * c_.memory + m) * width_;
      scores.push_back(score(q, memory.subspan(from, width_)));
      values.push_back(memory.subspan(memory.size() / 2 + from, width_));
    }
    for (Index w = 0; w < static_cast<Index>(blocks.size() / pair_); ++w) {
      scores.push_back(score(q, part(blocks, w, h, 0)));
      values.push_back(part(blocks, w, h, 1));
    }
    return weighted_mean(scores, values);
  }

  /// The blocks with the highest scores, the mean of those heads that choose with h.
  std::vector<Index> choose(std::span<const double> qkv, std::span<const double> blocks,
                            Index h) const {
    const Index together = c_.share_choice ? c_.heads / c_.kv_heads : 1;
    const Index count = static_cast<Index>(blocks.size() / pair_);
    std::vector<double> scores(to_size(count), 0.0);
    double highest = -1000;
    for (Index w = 0; w < count; ++w) {
      for (Index g = h / together * together; g < (h / together + 1) * together; ++g)
        scores[to_size(w)] +=
            score(qkv.subspan(to_size(g) * width_, width_), part(blocks, w, h, 0)) /
            static_cast<double>(together);
      highest = std::max(highest, scores[to_size(w)]);
    }
    double sum = std::exp(-1000 - highest);
    for (const double s : scores)
      sum += std::exp(s - highest);
    std::vector<Index> order = range(0, count);
    std::stable_sort(order.begin(), order.end(),
                     [&](Index a, Index b) { return scores[to_size(a)] > scores[to_size(b)]; });
    order.resize(to_size(std::min(c_.choices, count)));
    std::erase_if(order,
                  [&](Index w) { return !(std::exp(scores[to_size(w)] - highest) / sum > 1e-10); });
    return order;
  }

  /// Appends the compressed pair of the block that ends before token `end`.
  void compress(std::vector<double>& numbers, Index end) const {
    std::vector<double> pair;
    for (const Index side : {0, 1}) {
      const std::string name = side == 0 ? "k" : "v";
      const std::vector<double>& places = p_.at(name + "_intrablock_positions");
      for (Index h = 0; h < c_.kv_heads; ++h) {
        std::vector<double> flat;
        for (Index n = 0; n < c_.block; ++n) {
          const auto token = part(numbers, end - c_.block + n, h * (c_.heads / c_.kv_heads), side);
          for (std::size_t j = 0; j < width_; ++j)
            flat.push_back(token[j] + places[to_size(h * c_.block + n) * width_ + j]);
        }
        std::vector<double> hidden =
            host_linear(flat, p_.at(name + "_compress.1.weight"), p_.at(name + "_compress.1.bias"));
        for (double& v : hidden)
          v = std::max(v, 0.0);
        const std::vector<double> out = host_linear(hidden, p_.at(name + "_compress.3.weight"),
                                                    p_.at(name + "_compress.3.bias"));
        pair.insert(pair.end(), out.begin(), out.end());
      }
    }
    numbers.insert(numbers.end(), pair.begin(), pair.end());
  }

  NsaConfig c_;
  HostParameters p_;
  std::size_t width_, pair_;  // f, and the numbers of a pair of all heads
};

}  // namespace

std::unique_ptr<Decoder> make_nsa_decoder(const NsaConfig& config,
                                          const HostParameters& parameters) {
  return std::make_unique<NsaDecoder>(config, parameters);
}

}  // namespace recallbench
