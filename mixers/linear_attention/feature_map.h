#pragma once

#include <span>
#include <string>
#include <vector>

#include "mixers/mixer.h"

namespace recallbench {

enum class MapKind {
  taylor_exp,
  identity,
  relu,
  pos_elu,
  square,
  cosformer,
  performer,
  all_poly,
  softmax_dim,
  hedgehog,
};

/// φ of linear attention as it was configured: its options, its parameters (`feature_map*`), how
/// it is recorded and how many features it gives.
class FeatureMap {
 public:
  /// Reads `feature_map`, `feature_dim` and what the chosen map takes; declares its parameters.
  FeatureMap(const MixerContext& context, Options& options, ParameterDeclarer& declarer,
             const std::string& default_map);

  /// φ of every head: x [R, B, n, H·f] → [R, B, n, H·F]. Queries and keys differ where the map's
  /// scale may depend on the row, and for `hedgehog`; `length` is that of the whole sequence, and
  /// with `at_labels` row i stands at the batch's labelled position i. `taylor_exp` gives x back:
  /// its polynomial is taken of the scores.
  Tensor record(Forward& f, const Tensor& x, bool is_query, Index heads, Index length,
                bool at_labels) const;

  MapKind kind() const { return kind_; }
  Index feature_dim() const { return f_; }
  /// F: numbers of φ of one head that a decoder needs, each product of `taylor_exp` once.
  Index features() const;
  /// F as Zoology's state size counts it (quirk Q12: expansions are left out).
  Index published_features() const;
  /// Throws if the map cannot be evaluated at `length` positions.
  void check_length(Index length) const;
  /// Length at which CosFormer's angle reaches π/2: `max_length`, or under compat the current
  /// length (quirk Q15).
  Index horizon(Index length) const { return zoology_ ? length : max_length_; }

 private:
  friend class FeatureMapDecoder;

  MapKind kind_;
  bool zoology_;
  Index f_, output_dim_ = 0, expanded_dim_ = 0, max_length_ = 0;
  double temperature_ = 1.0;
  Parameter first_, second_;       // all_poly: proj_1, proj_2; performer: random_feats
  Parameter linear_[2], bias_[2];  // hedgehog: of keys, of queries
};

/// The same map in plain loops, for one head and one position.
class FeatureMapDecoder {
 public:
  FeatureMapDecoder(const FeatureMap& map, const HostParameters& parameters, Index length);
  std::vector<double> operator()(std::span<const double> x, bool is_query,
                                 std::int64_t position) const;

 private:
  std::vector<double> taylor(std::span<const double> x) const;
  std::vector<double> elementwise(std::span<const double> x) const;
  std::vector<double> cosformer(std::span<const double> x, std::int64_t position) const;
  std::vector<double> performer(std::span<const double> x, bool is_query) const;
  std::vector<double> all_poly(std::span<const double> x) const;
  std::vector<double> softmaxes(std::span<const double> x, bool is_query) const;

  FeatureMap map_;
  HostParameters parameters_;
  Index length_;
};

}  // namespace recallbench
