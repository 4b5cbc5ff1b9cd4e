#include <cmath>
#include <optional>

#include "kernels/causal_conv/causal_conv.h"
#include "kernels/delta_rule/delta_rule.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/feature_map/feature_map.h"
#include "kernels/gated_norm/gated_norm.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/l2_norm/l2_norm.h"
#include "kernels/log_decay/log_decay.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/norm.h"
#include "mixers/delta_net/delta_net.h"
#include "mixers/initialise.h"

namespace recallbench {
namespace {

/// ln U(0, 16): most rates of decay lie between 1 and 16, a few near 0.
void log_of_uniform(std::span<double> values, RandomStream& random) {
  uniform(8)(values, random);
  for (double& v : values)
    v = std::log(8 + v);
}

class DeltaNet : public SequenceMixer {
 public:
  DeltaNet(const DeltaNetConfig& config, const MixerContext& context, ParameterDeclarer& d)
      : c_(config) {
    const auto projection = [&](const char* name, Index rows) {
      return d.weight(name, {rows, c_.d_model}, context.linear_weight(c_.d_model));
    };
    q_ = projection("q_proj.weight", c_.key_dim());
    k_ = projection("k_proj.weight", c_.key_dim());
    v_ = projection("v_proj.weight", c_.value_dim());
    if (c_.beta) b_ = projection("b_proj.weight", c_.heads);
    if (c_.gate) g_ = projection("g_proj.weight", c_.value_dim());
    if (c_.conv > 0) {
      const Initialise taps = torch_default(c_.conv);
      q_conv_ = d.weight("q_conv1d.weight", {c_.key_dim(), 1, c_.conv}, taps);
      k_conv_ = d.weight("k_conv1d.weight", {c_.key_dim(), 1, c_.conv}, taps);
      v_conv_ = d.weight("v_conv1d.weight", {c_.value_dim(), 1, c_.conv}, taps);
    }
    if (c_.decay) {
      a_ = projection("a_proj.weight", c_.heads);
      a_log_ = d.undecayed("A_log", {c_.heads}, log_of_uniform);
      dt_bias_ = d.undecayed("dt_bias", {c_.heads}, inverse_softplus(0.001, 0.1, 1e-4));
      // The reference has it and never reads it.
      if (context.zoology) d.undecayed("D", {c_.heads}, constant(1));
    }
    norm_ = d.undecayed("o_norm.weight", {c_.values}, constant(1));
    // Quirk Q5: the reference does not rescale a projection of this name.
    o_ = d.weight("o_proj.weight", {c_.d_model, c_.value_dim()},
                  context.unrecognised_residual_weight(c_.value_dim()));
  }

  Tensor forward(Forward& f, const Tensor& x) const override { return finish(f, recall(f, x), x); }
  /// The recurrence needs all tokens; norm, gate and projection need the labelled ones.
  Tensor forward_rows(Forward& f, const Tensor& x, Index labels) const override {
    // x first: backward then adds few rows.
    const Tensor rows = c_.gate ? gather_rows(f.graph(), x, labels) : x;
    return finish(f, gather_rows(f.graph(), recall(f, x), labels), rows);
  }

  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index) const override {
    return make_delta_net_decoder(c_, parameters);
  }
  /// The reference leaves the convolutions' windows out.
  std::optional<double> published_state_size(Index) const override {
    return 4.0 * static_cast<double>(c_.state_numbers());
  }
  /// On the tiny MQAR it ends between 0.67 and 1 with one head and no decay, between 0.19 and 1
  /// with 8 keys or more in a head; fewer can hardly hold its pairs.
  Traits traits() const override {
    const bool surely = c_.heads == 1 && !c_.decay;
    return {true, true, surely ? 0.5 : c_.keys >= 8 ? 0.15 : 0.0, 1.0};
  }

 private:
  /// x W, through the convolution and maybe SiLU: rows of q, k or v.
  Tensor project(Forward& f, const Tensor& x, Parameter weight, Parameter conv, bool silu) const {
    Graph& g = f.graph();
    const Tensor projected = linear(g, x, f.parameter(weight));
    if (c_.conv > 0)
      return causal_conv(g, projected, f.parameter(conv), std::nullopt,
                         silu ? ConvActivation::silu : ConvActivation::none);
    return silu ? activate(g, Activation::silu, projected) : projected;
  }

  Tensor features(Forward& f, const Tensor& x, Parameter weight, Parameter conv) const {
    Graph& g = f.graph();
    Tensor y = project(f, x, weight, conv, c_.activation == QkActivation::silu);
    if (c_.activation == QkActivation::relu) y = activate(g, Activation::relu, y);
    if (c_.activation == QkActivation::elu) y = elementwise_features(g, y, ElementwiseMap::pos_elu);
    return c_.norm == QkNorm::l2 ? l2_norm(g, y, c_.heads) : sum_norm(g, y, c_.heads);
  }

  /// y of the delta rule [R, B, L, H·dv].
  Tensor recall(Forward& f, const Tensor& x) const {
    Graph& g = f.graph();
    DeltaRuleInputs in{features(f, x, q_, q_conv_), features(f, x, k_, k_conv_),
                       project(f, x, v_, v_conv_, true), std::nullopt, std::nullopt};
    if (c_.beta) in.beta = activate(g, Activation::sigmoid, linear(g, x, f.parameter(b_)));
    if (c_.decay) {
      const Tensor dt =
          activate(g, Activation::softplus, linear(g, x, f.parameter(a_), f.parameter(dt_bias_)));
      in.log_decay = log_decay(g, dt, f.parameter(a_log_));
    }
    return delta_rule(
        g, in,
        {c_.heads, 1 / std::sqrt(static_cast<double>(c_.keys)), c_.doubles_beta ? 2.0 : 1.0});
  }

  /// o_proj of the normalised and gated rows; x where there is a gate: the same rows.
  Tensor finish(Forward& f, const Tensor& y, const Tensor& x) const {
    Graph& g = f.graph();
    const Tensor weight = f.parameter(norm_);
    Tensor normed;
    if (c_.gate) {
      normed = gated_norm(g, y, linear(g, x, f.parameter(g_)), weight, {.eps = c_.norm_eps});
    } else {
      const Shape s = y.shape;
      const Tensor heads = y.reshaped({s[0], s[1], s[2] * c_.heads, c_.values});
      normed = rms_norm(g, heads, weight, c_.norm_eps).reshaped(s);
    }
    return linear(g, normed, f.parameter(o_));
  }

  DeltaNetConfig c_;
  Parameter q_, k_, v_, b_, g_, a_, q_conv_, k_conv_, v_conv_, a_log_, dt_bias_, norm_, o_;
};

}  // namespace

std::unique_ptr<SequenceMixer> make_delta_net(const DeltaNetConfig& config,
                                              const MixerContext& context,
                                              ParameterDeclarer& declarer) {
  return std::make_unique<DeltaNet>(config, context, declarer);
}

}  // namespace recallbench
