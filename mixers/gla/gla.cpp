#include "mixers/gla/gla.h"

#include <cmath>
#include <map>

#include "kernels/causal_conv/causal_conv.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gated_linear_attention/gated_linear_attention.h"
#include "kernels/gated_norm/gated_norm.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/norm.h"
#include "kernels/rotary/rotary.h"
#include "kernels/sigmoid_decay/sigmoid_decay.h"
#include "mixers/head_numbers.h"
#include "mixers/initialise.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

/// What the options `feature_map` and `gate_fn` may name.
const std::map<std::string, std::optional<Activation>> kFunctions{{"none", std::nullopt},
                                                                  {"relu", Activation::relu},
                                                                  {"sigmoid", Activation::sigmoid},
                                                                  {"swish", Activation::silu}};

GlaSizes read_sizes(const MixerContext& context, Options& o, HeadDecay decay) {
  const bool gla = decay == HeadDecay::gate;
  GlaSizes s;
  s.decay = decay;
  s.heads = o.integer("num_heads", 2, 1, context.d_model, "heads");
  s.state_heads = s.heads;
  if (gla) {
    s.state_heads = o.integer("num_kv_heads", s.heads, 1, s.heads,
                              "heads of keys, values and decays: divides num_heads");
    if (s.heads % s.state_heads != 0)
      o.reject("num_kv_heads", fmt::format("must divide num_heads = {}", s.heads));
  }
  const double expand_k = o.number("expand_k", gla ? 0.5 : 1.0, 1e-6, 64, "width over d_model");
  const double expand_v = o.number("expand_v", gla ? 1.0 : 2.0, 1e-6, 64, "width over d_model");
  s.keys = head_numbers(o, "expand_k d_model", expand_k, context.d_model, s.heads);
  s.values = head_numbers(o, "expand_v d_model", expand_v, context.d_model, s.heads);
  if (!gla && s.keys % 2 != 0)
    o.reject("expand_k", fmt::format("must give each head an even number of keys, it gives {}; "
                                     "rotary positions turn pairs",
                                     s.keys));
  s.feature_map = kFunctions.at(o.text("feature_map", "none", {"none", "relu", "sigmoid", "swish"},
                                       "function of queries and keys"));
  const bool short_conv =
      o.boolean("use_short_conv", false, "short convolutions, with SiLU, of q, k and v");
  const Index width = o.integer("conv_size", 4, 1, 64, "width of the short convolutions");
  s.conv = short_conv ? width : 0;
  const bool gated = o.boolean("use_output_gate", true, "gate of the normalised heads");
  const std::string gate =
      o.text("gate_fn", "swish", {"swish", "sigmoid", "relu"}, "function of the output gate");
  s.gate = kFunctions.at(gated ? gate : "none");
  s.norm_name = s.gate == Activation::silu ? "g_norm_swish_gate.weight" : "g_norm.weight";
  s.norm_eps = o.number("norm_eps", 1e-5, 1e-12, 1, "added to the mean square of a head");
  return s;
}

class Gla : public SequenceMixer {
 public:
  Gla(const MixerContext& context, Options& options, ParameterDeclarer& d, HeadDecay decay)
      : zoology_(context.zoology), size_(read_sizes(context, options, decay)) {
    const Index width = context.d_model;
    const Initialise start = context.linear_weight(width);
    const Index state_keys = size_.state_heads * size_.keys;
    const Index state_values = size_.state_heads * size_.values;
    const Index keys = size_.heads * size_.keys, values = size_.heads * size_.values;
    q_.weight = d.weight("q_proj.weight", {keys, width}, start);
    k_.weight = d.weight("k_proj.weight", {state_keys, width}, start);
    v_.weight = d.weight("v_proj.weight", {state_values, width}, start);
    if (size_.gate) g_ = d.weight("g_proj.weight", {values, width}, start);
    if (size_.conv > 0) {
      const Initialise taps = torch_default(size_.conv);
      q_.conv = d.weight("q_conv1d.weight", {keys, 1, size_.conv}, taps);
      k_.conv = d.weight("k_conv1d.weight", {state_keys, 1, size_.conv}, taps);
      v_.conv = d.weight("v_conv1d.weight", {state_values, 1, size_.conv}, taps);
    }
    if (decay == HeadDecay::gate) declare_gate(context, options, d, state_keys);
    norm_ = d.undecayed(size_.norm_name, {size_.values}, constant(1));
    // Quirk Q5: the reference does not rescale a projection of this name.
    o_ = d.weight("o_proj.weight", {width, values}, context.unrecognised_residual_weight(values));
  }

  Tensor forward(Forward& f, const Tensor& x) const override { return finish(f, mix(f, x), x); }

  /// The state needs all tokens; norm, gate and output projection need the labelled ones.
  Tensor forward_rows(Forward& f, const Tensor& x, Index labels) const override {
    const Tensor rows = gather_rows(f.graph(), x, labels);  // first: backward then adds few rows
    return finish(f, gather_rows(f.graph(), mix(f, x), labels), rows);
  }

  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index) const override {
    return make_gla_decoder(size_, parameters);
  }
  /// One state for each query head, and convolutions with their width (a decoder holds one less).
  std::optional<double> published_state_size(Index) const override {
    // With convolutions the reference's formula fails.
    if (zoology_ && size_.decay == HeadDecay::gate && size_.conv > 0) return std::nullopt;
    const Index channels =
        size_.heads * size_.keys + size_.state_heads * (size_.keys + size_.values);
    return 4.0 *
           static_cast<double>(size_.heads * size_.keys * size_.values + size_.conv * channels);
  }
  /// On the tiny MQAR 0.43, and 0.63 with fixed rates, after the steps that attention needs
  /// for 1.0; one head comes to 0.16. Gates that begin near 0, and some of the variants, do not
  /// begin to learn within those steps.
  Traits traits() const override {
    const bool plain = !size_.feature_map && size_.conv == 0 && size_.gate == Activation::silu;
    const bool gated = size_.decay == HeadDecay::gate;
    return {true, true, !plain || (gated && size_.divisor < 4) ? 0.0 : gated ? 0.1 : 0.3, 1.0};
  }

 private:
  /// A projection of x and, where there is one, its short convolution.
  struct Path {
    Parameter weight, conv;
  };

  void declare_gate(const MixerContext& context, Options& options, ParameterDeclarer& d,
                    Index state_keys) {
    const Index rank =
        options.integer("gate_low_rank_dim", 16, 1, 1 << 16, "rank of the decays' projection");
    size_.divisor = options.number("gate_logit_normalizer", 16, 1e-6, 1e6,
                                   "the decay is a sigmoid to the power of 1 / this");
    size_.clamp_min = options.number("clamp_min", -1e9, -1e9, 0,
                                     "smallest logarithm of a decay; the default never acts");
    const Index width = context.d_model;
    gate_in_ = d.weight("gk_proj.0.weight", {rank, width}, context.linear_weight(width));
    gate_out_ = d.weight("gk_proj.1.weight", {state_keys, rank}, context.linear_weight(rank));
    gate_bias_ = d.undecayed("gk_proj.1.bias", {state_keys}, constant(0));
  }

  Tensor project(Forward& f, const Tensor& x, const Path& path) const {
    const Tensor y = linear(f.graph(), x, f.parameter(path.weight));
    if (size_.conv == 0) return y;
    return causal_conv(f.graph(), y, f.parameter(path.conv), std::nullopt, ConvActivation::silu);
  }
  /// Queries or keys: feature map and positions.
  Tensor address(Forward& f, const Tensor& x, const Path& path, Index heads) const {
    Tensor y = project(f, x, path);
    if (size_.feature_map) y = activate(f.graph(), *size_.feature_map, y);
    if (size_.decay != HeadDecay::fixed_rate) return y;
    return rotary(f.graph(), y, 10000.0, {heads, x.shape[2], false, RotaryPairs::halves});
  }

  /// x → the heads' outputs [R, B, L, heads · values].
  Tensor mix(Forward& f, const Tensor& x) const {
    Graph& graph = f.graph();
    GatedLinearAttentionInputs in{address(f, x, q_, size_.heads),
                                  address(f, x, k_, size_.state_heads), project(f, x, v_)};
    GatedLinearAttentionOptions options{.heads = size_.heads,
                                        .state_heads = size_.state_heads,
                                        .scale = 1 / std::sqrt(static_cast<double>(size_.keys)),
                                        .constant_decays = {}};
    if (size_.decay == HeadDecay::gate) {
      const Tensor low = linear(graph, x, f.parameter(gate_in_));
      in.log_decay =
          sigmoid_decay(graph, linear(graph, low, f.parameter(gate_out_), f.parameter(gate_bias_)),
                        {.divisor = size_.divisor, .clamp_min = size_.clamp_min});
    } else {
      for (Index h = 0; h < size_.heads; ++h)
        options.constant_decays.push_back(GlaSizes::rate(h));
    }
    return gated_linear_attention(graph, in, options);
  }

  /// Norm of each head, gate from the same rows of x, output projection.
  Tensor finish(Forward& f, const Tensor& o, const Tensor& x) const {
    Graph& graph = f.graph();
    const Tensor weight = f.parameter(norm_);
    if (size_.gate == Activation::silu || size_.gate == Activation::sigmoid) {
      const GateActivation function =
          size_.gate == Activation::silu ? GateActivation::silu : GateActivation::sigmoid;
      const Tensor y = gated_norm(graph, o, linear(graph, x, f.parameter(g_)), weight,
                                  {.activation = function, .eps = size_.norm_eps});
      return linear(graph, y, f.parameter(o_));
    }
    const Shape heads{o.shape[0], o.shape[1], o.shape[2] * size_.heads, size_.values};
    Tensor y = rms_norm(graph, o.reshaped(heads), weight, size_.norm_eps).reshaped(o.shape);
    if (size_.gate) y = gate(graph, y, *size_.gate, linear(graph, x, f.parameter(g_)));
    return linear(graph, y, f.parameter(o_));
  }

  bool zoology_;
  GlaSizes size_;
  Path q_, k_, v_;
  Parameter g_, gate_in_, gate_out_, gate_bias_, norm_, o_;
};

}  // namespace

double GlaSizes::rate(Index head) {
  return 1 - std::exp2(-5.0 - static_cast<double>(head));
}

MixerFactory gla_factory(HeadDecay decay) {
  return [decay](const MixerContext& context, Options& options, ParameterDeclarer& d) {
    return std::make_unique<Gla>(context, options, d, decay);
  };
}

void register_gla(MixerRegistry& registry) {
  registry.add("gla", {"Linear attention whose state forgets by a decay of each token and key "
                       "(Yang et al. 2023).",
                       gla_factory(HeadDecay::gate),
                       {deviations::kOutputStartsUnscaled}});
}

}  // namespace recallbench
