#include "mixers/linear_attention/feature_map.h"

#include <algorithm>
#include <cmath>

#include "kernels/feature_map/feature_map.h"
#include "kernels/matmul/matmul.h"

namespace recallbench {
namespace {

const std::vector<std::string> kNames{"taylor_exp",  "identity",  "relu",      "pos_elu",
                                      "square",      "cosformer", "performer", "all_poly",
                                      "softmax_dim", "hedgehog"};

double dot(const double* a, const double* b, Index n) {
  double sum = 0;
  for (Index i = 0; i < n; ++i)
    sum += a[i] * b[i];
  return sum;
}

/// Turns the rows of the [f, f] matrix at `rows` into an orthonormal basis (Gram-Schmidt, twice).
void orthonormalise(double* rows, Index f) {
  for (Index i = 0; i < f; ++i) {
    double* row = rows + i * f;
    for (int pass = 0; pass < 2; ++pass)
      for (Index j = 0; j < i; ++j) {
        const double along = dot(row, rows + j * f, f);
        for (Index c = 0; c < f; ++c)
          row[c] -= along * rows[j * f + c];
      }
    const double norm = std::sqrt(dot(row, row, f));
    for (Index c = 0; c < f; ++c)
      row[c] /= norm;
  }
}

/// Performer's Ω [m, f]: blocks of f orthonormal rows. The paper gives each row the length of a
/// Gaussian vector of f numbers, so that <φ(q), φ(k)> estimates exp(<q, k>/√f); the reference
/// gives every row the length 1/√(m/f), which divides <q, k> by about m (quirk Q14).
Initialise orthogonal_rows(Index m, Index f, bool zoology) {
  return [=](std::span<double> values, RandomStream& random) {
    const Initialise gaussian = normal(1.0);
    std::vector<double> block(static_cast<std::size_t>(f * f));
    std::vector<double> vector(static_cast<std::size_t>(f));
    for (Index first = 0; first < m; first += f) {
      gaussian(block, random);
      orthonormalise(block.data(), f);
      for (Index i = first; i < std::min(first + f, m); ++i) {
        double length = 1 / std::sqrt(static_cast<double>(m) / static_cast<double>(f));
        if (!zoology) {
          gaussian(vector, random);
          length = std::sqrt(dot(vector.data(), vector.data(), f));
        }
        for (Index c = 0; c < f; ++c)
          values[static_cast<std::size_t>(i * f + c)] =
              length * block[static_cast<std::size_t>((i - first) * f + c)];
      }
    }
  };
}

Initialise identity_matrix(Index f) {
  return [f](std::span<double> values, RandomStream&) {
    for (Index i = 0; i < f; ++i)
      for (Index j = 0; j < f; ++j)
        values[static_cast<std::size_t>(i * f + j)] = i == j ? 1 : 0;
  };
}

}  // namespace

FeatureMap::FeatureMap(const MixerContext& context, Options& options, ParameterDeclarer& declarer,
                       const std::string& default_map)
    : zoology_(context.zoology) {
  const std::string name =
      options.text("feature_map", default_map, kNames, "the map of queries and keys");
  kind_ = static_cast<MapKind>(std::find(kNames.begin(), kNames.end(), name) - kNames.begin());
  f_ = options.integer("feature_dim", 16, 1, 8192, "numbers of a query and a key in a head");
  switch (kind_) {
    case MapKind::relu:
    case MapKind::pos_elu:
      temperature_ = options.number("temp", 1.0, -1e6, 1e6, "factor before the map");
      break;
    case MapKind::cosformer:
      if (!zoology_)
        max_length_ = options.length("max_length", std::nullopt, 1 << 20,
                                     "longest sequence: where the angle reaches pi/2");
      break;
    case MapKind::performer:
      expanded_dim_ = options.integer("expanded_dim", 256, 1, 8192, "random features");
      first_ = declarer.buffer("feature_map.random_feats", {expanded_dim_, f_},
                               orthogonal_rows(expanded_dim_, f_, zoology_));
      break;
    case MapKind::all_poly:
      output_dim_ = options.integer("output_dim", f_, 1, 8192, "features of a head");
      first_ = declarer.weight("feature_map.proj_1.weight", {output_dim_, f_},
                               context.linear_weight(f_));
      second_ = declarer.weight("feature_map.proj_2.weight", {output_dim_, f_},
                                context.linear_weight(f_));
      break;
    case MapKind::hedgehog:
      for (const int side : {1, 0}) {
        const std::string prefix = side == 1 ? "feature_map_q.layer." : "feature_map_k.layer.";
        linear_[side] = declarer.weight(prefix + "weight", {f_, f_}, identity_matrix(f_));
        bias_[side] = declarer.undecayed(prefix + "bias", {f_}, constant(0));
      }
      break;
    default:
      break;
  }
}

Index FeatureMap::features() const {
  switch (kind_) {
    case MapKind::taylor_exp:
      return 1 + f_ + f_ * (f_ + 1) / 2;
    case MapKind::cosformer:
    case MapKind::softmax_dim:
    case MapKind::hedgehog:
      return 2 * f_;
    case MapKind::performer:
      return expanded_dim_;
    case MapKind::all_poly:
      return output_dim_;
    default:
      return f_;
  }
}

Index FeatureMap::published_features() const {
  const bool inherits_f =
      kind_ == MapKind::performer || kind_ == MapKind::softmax_dim || kind_ == MapKind::hedgehog;
  return inherits_f ? f_ : features();
}

void FeatureMap::check_length(Index length) const {
  if (kind_ == MapKind::cosformer)
    recallbench::check_length("linear_attention", "max_length", horizon(length), length);
}

Tensor FeatureMap::record(Forward& f, const Tensor& x, bool is_query, Index heads, Index length,
                          bool at_labels) const {
  Graph& graph = f.graph();
  const Index n = x.shape[2];
  // One row a head and position, for maps that look at a whole row.
  const Tensor z = x.reshaped({x.shape[0], x.shape[1], n * heads, f_});
  const auto joined = [&](const Tensor& phi) {
    return phi.reshaped({x.shape[0], x.shape[1], n, heads * phi.cols()});
  };
  switch (kind_) {
    case MapKind::taylor_exp:
    case MapKind::identity:
      return x;
    case MapKind::relu:
      return elementwise_features(graph, x, ElementwiseMap::relu, temperature_);
    case MapKind::pos_elu:
      return elementwise_features(graph, x, ElementwiseMap::pos_elu, temperature_);
    case MapKind::square:
      return elementwise_features(graph, x, ElementwiseMap::square);
    case MapKind::cosformer:
      return cosformer_features(graph, x, {heads, horizon(length), zoology_, at_labels});
    case MapKind::performer:
      // Less the row's maximum for queries: it cancels in the quotient, and nothing overflows.
      return joined(exponential_features(graph, z, linear(graph, z, f.parameter(first_)),
                                         is_query && !zoology_));
    case MapKind::all_poly:
      return joined(
          polynomial_features(graph, linear(graph, z, f.parameter(first_)),
                              linear(graph, elementwise_features(graph, z, ElementwiseMap::square),
                                     f.parameter(second_))));
    case MapKind::softmax_dim:
      return joined(softmax_features(graph, z, 1.0, false));
    case MapKind::hedgehog:
      return joined(softmax_features(
          graph, linear(graph, z, f.parameter(linear_[is_query]), f.parameter(bias_[is_query])),
          2.0, true));
  }
  return x;
}

}  // namespace recallbench
