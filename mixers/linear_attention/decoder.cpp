#include <cmath>

#include "mixers/host_math.h"
#include "mixers/linear_attention/feature_map.h"
#include "mixers/linear_attention/linear_attention.h"

namespace recallbench {

FeatureMapDecoder::FeatureMapDecoder(const FeatureMap& map, const HostParameters& parameters,
                                     Index length)
    : map_(map), parameters_(parameters), length_(length) {}

std::vector<double> FeatureMapDecoder::operator()(std::span<const double> x, bool is_query,
                                                  std::int64_t position) const {
  switch (map_.kind()) {
    case MapKind::taylor_exp:
      return taylor(x);
    case MapKind::cosformer:
      return cosformer(x, position);
    case MapKind::performer:
      return performer(x, is_query);
    case MapKind::all_poly:
      return all_poly(x);
    case MapKind::softmax_dim:
    case MapKind::hedgehog:
      return softmaxes(x, is_query);
    default:
      return elementwise(x);
  }
}

/// [1; x / f^(1/4); x_i² / (√2 √f); x_i x_j / √f for j < i]: inner products 1 + s + s²/2.
std::vector<double> FeatureMapDecoder::taylor(std::span<const double> x) const {
  const double root = std::sqrt(static_cast<double>(x.size()));
  std::vector<double> phi{1};
  for (const double number : x)
    phi.push_back(number / std::sqrt(root));
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j)
      phi.push_back(x[i] * x[j] / root);
    phi.push_back(x[i] * x[i] / (std::sqrt(2.0) * root));
  }
  return phi;
}

std::vector<double> FeatureMapDecoder::elementwise(std::span<const double> x) const {
  std::vector<double> phi(x.begin(), x.end());
  for (double& number : phi) {
    const double z = map_.temperature_ * number;
    if (map_.kind() == MapKind::relu)
      number = z > 1e-12 ? z : 1e-12;
    else if (map_.kind() == MapKind::pos_elu)
      number = z > 0 ? z + 1 : std::exp(z);
    else if (map_.kind() == MapKind::square)
      number = z * z;
  }
  return phi;
}

std::vector<double> FeatureMapDecoder::cosformer(std::span<const double> x,
                                                 std::int64_t position) const {
  double angle = std::numbers::pi / 2 * static_cast<double>(position + 1);
  if (map_.zoology_) angle = static_cast<float>(angle);  // as the reference rounds it
  angle /= static_cast<double>(map_.horizon(length_));
  std::vector<double> phi;
  for (const double turn : {std::sin(angle), std::cos(angle)})
    for (const double number : x)
      phi.push_back(number > 0 ? number * turn : 0);
  return phi;
}

std::vector<double> FeatureMapDecoder::performer(std::span<const double> x, bool is_query) const {
  std::vector<double> scaled(x.begin(), x.end());
  double half_square = 0;
  for (double& number : scaled) {
    number /= std::sqrt(std::sqrt(static_cast<double>(x.size())));
    half_square += number * number / 2;
  }
  std::vector<double> phi = host_linear(scaled, parameters_.at("feature_map.random_feats"));
  double shift = half_square;
  if (is_query && !map_.zoology_) {
    shift = phi[0];
    for (const double projection : phi)
      shift = projection > shift ? projection : shift;
  }
  for (double& number : phi)
    number = std::exp(number - shift) / std::sqrt(static_cast<double>(phi.size()));
  return phi;
}

std::vector<double> FeatureMapDecoder::all_poly(std::span<const double> x) const {
  std::vector<double> squares(x.begin(), x.end());
  for (double& number : squares)
    number *= number;
  std::vector<double> phi = host_linear(x, parameters_.at("feature_map.proj_1.weight"));
  const auto second = host_linear(squares, parameters_.at("feature_map.proj_2.weight"));
  for (std::size_t i = 0; i < phi.size(); ++i)
    phi[i] = (phi[i] * phi[i] + second[i]) / std::sqrt(2.0);
  return phi;
}

/// softmax_dim: [softmax(x); softmax(-x)], each at least 1e-12.
/// hedgehog: softmax([2z; -2z]) with z = W x + b.
std::vector<double> FeatureMapDecoder::softmaxes(std::span<const double> x, bool is_query) const {
  std::vector<double> z(x.begin(), x.end());
  const bool hedgehog = map_.kind() == MapKind::hedgehog;
  if (hedgehog) {
    const std::string prefix = is_query ? "feature_map_q.layer." : "feature_map_k.layer.";
    z = host_linear(x, parameters_.at(prefix + "weight"), parameters_.at(prefix + "bias"));
  }
  double largest = 0, sums[2] = {0, 0};
  for (double& number : z) {
    number *= hedgehog ? 2 : 1;
    largest = std::max(largest, std::abs(number));
  }
  std::vector<double> phi;
  for (const int half : {0, 1})
    for (const double number : z) {
      phi.push_back(std::exp((half == 0 ? number : -number) - largest));
      sums[half] += phi.back();
    }
  for (std::size_t i = 0; i < phi.size(); ++i)
    phi[i] = hedgehog ? phi[i] / (sums[0] + sums[1]) : std::max(phi[i] / sums[i / z.size()], 1e-12);
  return phi;
}

namespace {

/// Per head the state S [F, dh] and z [F], as rows of dh + 1 numbers:
/// S += φ(k) vᵀ, z += φ(k), y = Sᵀ φ(q) / (<z, φ(q)> + eps); out = W_o [y of all heads].
class LinearAttentionDecoder : public Decoder {
 public:
  LinearAttentionDecoder(const FeatureMap& map, Index d_model, Index heads, double eps,
                         const HostParameters& parameters, Index length)
      : heads_(static_cast<std::size_t>(heads)),
        f_(static_cast<std::size_t>(map.feature_dim())),
        features_(static_cast<std::size_t>(map.features())),
        values_(static_cast<std::size_t>(d_model / heads)),
        eps_(eps),
        map_(map, parameters, length),
        q_(parameters.at("proj_q.weight")),
        k_(parameters.at("proj_k.weight")),
        v_(parameters.at("proj_v.weight")),
        o_(parameters.at("proj_o.weight")) {}

  State start() const override {
    return {std::vector<double>(heads_ * features_ * (values_ + 1)), {0}};
  }

  void step(std::span<const double> x, State& state, std::span<double> y) const override {
    const std::vector<double> q = host_linear(x, q_), k = host_linear(x, k_),
                              v = host_linear(x, v_);
    const std::int64_t position = state.counters[0]++;
    std::vector<double> mixed;
    for (std::size_t h = 0; h < heads_; ++h) {
      const auto phi_q = map_(std::span(q).subspan(h * f_, f_), true, position);
      const auto phi_k = map_(std::span(k).subspan(h * f_, f_), false, position);
      std::vector<double> sum(values_ + 1);
      for (std::size_t i = 0; i < features_; ++i) {
        double* row = state.numbers.data() + (h * features_ + i) * (values_ + 1);
        for (std::size_t c = 0; c <= values_; ++c) {
          row[c] += phi_k[i] * (c < values_ ? v[h * values_ + c] : 1.0);
          sum[c] += phi_q[i] * row[c];
        }
      }
      for (std::size_t c = 0; c < values_; ++c)
        mixed.push_back(sum[c] / (sum[values_] + eps_));
    }
    const std::vector<double> out = host_linear(mixed, o_);
    std::copy(out.begin(), out.end(), y.begin());
  }

 private:
  std::size_t heads_, f_, features_, values_;
  double eps_;
  FeatureMapDecoder map_;
  std::vector<double> q_, k_, v_, o_;
};

}  // namespace

std::unique_ptr<Decoder> linear_attention_decoder(const FeatureMap& map, Index d_model, Index heads,
                                                  double eps, const HostParameters& parameters,
                                                  Index length) {
  return std::make_unique<LinearAttentionDecoder>(map, d_model, heads, eps, parameters, length);
}

}  // namespace recallbench
