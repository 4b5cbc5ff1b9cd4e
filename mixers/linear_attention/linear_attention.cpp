#include "mixers/linear_attention/linear_attention.h"

#include <cmath>

#include "kernels/gather_rows/gather_rows.h"
#include "kernels/linear_attention/linear_attention.h"
#include "kernels/matmul/matmul.h"
#include "mixers/linear_attention/feature_map.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

class LinearAttentionMixer : public SequenceMixer {
 public:
  LinearAttentionMixer(const MixerContext& context, Options& options, ParameterDeclarer& declarer,
                       const std::string& default_map)
      : d_model_(context.d_model), map_(context, options, declarer, default_map) {
    heads_ = options.integer("num_heads", context.zoology ? 12 : 1, 1, d_model_, "heads");
    const std::int64_t value_heads = options.integer("num_key_value_heads", heads_, 1, d_model_,
                                                     "heads of the values: as many as num_heads");
    if (value_heads != heads_)
      options.reject("num_key_value_heads", fmt::format("must equal num_heads = {}", heads_));
    if (d_model_ % heads_ != 0)
      options.reject("num_heads", fmt::format("must divide d_model = {}", d_model_));
    eps_ = options.number("eps", 1e-12, 0, 1, "added to the sum of weights");
    options.text("train_view", "quadratic", {"quadratic", "linear"},
                 "accepted for old configurations; results do not depend on it");
    const Initialise initialise = context.linear_weight(d_model_);
    const Index width = heads_ * map_.feature_dim();
    q_ = declarer.weight("proj_q.weight", {width, d_model_}, initialise);
    k_ = declarer.weight("proj_k.weight", {width, d_model_}, initialise);
    v_ = declarer.weight("proj_v.weight", {d_model_, d_model_}, initialise);
    // Quirk Q5: the reference does not rescale a projection of this name.
    o_ = declarer.weight("proj_o.weight", {d_model_, d_model_},
                         context.unrecognised_residual_weight(d_model_));
  }

  Tensor forward(Forward& f, const Tensor& x) const override { return mix(f, x, x, false); }
  Tensor forward_rows(Forward& f, const Tensor& x, Index labels) const override {
    return mix(f, gather_rows(f.graph(), x, labels), x, true);
  }
  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index length) const override {
    map_.check_length(length);
    return linear_attention_decoder(map_, d_model_, heads_, eps_, parameters, length);
  }
  std::optional<double> published_state_size(Index) const override {
    return 4.0 * static_cast<double>(heads_ * (d_model_ / heads_ + 1) * map_.published_features());
  }
  Traits traits() const override {
    // Maps with kernels of either sign have denominators near 0, and may end anywhere.
    const bool positive = map_.kind() != MapKind::identity && map_.kind() != MapKind::all_poly;
    return {true, true, map_.kind() == MapKind::taylor_exp ? 0.5 : positive ? 0.1 : 0.0, 1.0};
  }

 private:
  /// `queries` are the rows of `x` that are wanted: all, or those at the labels.
  Tensor mix(Forward& f, const Tensor& queries, const Tensor& x, bool at_labels) const {
    Graph& graph = f.graph();
    const Index length = x.shape[2];
    map_.check_length(length);
    const Tensor q =
        map_.record(f, linear(graph, queries, f.parameter(q_)), true, heads_, length, at_labels);
    const Tensor k =
        map_.record(f, linear(graph, x, f.parameter(k_)), false, heads_, length, false);
    LinearAttentionOptions options{.heads = heads_, .eps = eps_, .at_labels = at_labels};
    if (map_.kind() == MapKind::taylor_exp) {
      options.kernel = LinearKernel::taylor;
      options.scale = 1 / std::sqrt(static_cast<double>(map_.feature_dim()));
    }
    const Tensor y = linear_attention(graph, q, k, linear(graph, x, f.parameter(v_)), options);
    return linear(graph, y, f.parameter(o_));
  }

  Index d_model_, heads_;
  double eps_;
  FeatureMap map_;
  Parameter q_, k_, v_, o_;
};

}  // namespace

MixerFactory linear_attention_factory(const std::string& default_map) {
  return [default_map](const MixerContext& context, Options& options, ParameterDeclarer& declarer) {
    return std::make_unique<LinearAttentionMixer>(context, options, declarer, default_map);
  };
}

void register_linear_attention(MixerRegistry& registry) {
  registry.add(
      "linear_attention",
      {"Causal normalised linear attention with a choice of feature maps (Katharopoulos "
       "et al. 2020; Qin et al. 2022; Choromanski et al. 2021; Zhang et al. 2024).",
       linear_attention_factory("pos_elu"),
       {deviations::kOutputStartsUnscaled,
        {"Q12", "the state size of maps that expand counts f, not F",
         "reported as published; the measured state counts F"},
        {"Q14", "Performer's random rows have length 1/√(m/f), which divides ⟨q, k⟩ by about m",
         "the length of a Gaussian vector of f numbers"},
        {"Q15",
         "CosFormer's angles depend on the length of the sequence at hand, and are rounded "
         "to float32",
         "on `max_length`, which is required"}}});
}

}  // namespace recallbench
