#include "mixers/hyena/hyena.h"

#include <cmath>

#include "kernels/causal_conv/causal_conv.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/long_conv/long_conv.h"
#include "kernels/matmul/matmul.h"
#include "kernels/skip_gate/skip_gate.h"
#include "mixers/hyena/filter.h"
#include "mixers/initialise.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

HyenaOptions read_options(const MixerContext& context, Options& o) {
  HyenaOptions h;
  h.d_model = context.d_model;
  h.l_max = o.length("l_max", 1024, 8192, "longest sequence");
  h.order = o.integer("filter_order", 64, 1, 4096, "width of the filter's network");
  h.short_filter = o.integer("short_filter_order", 3, 1, 64, "taps of the short convolution");
  h.features = o.integer("emb_dim", 3, 3, 1025, "features of a position, an odd number");
  if (h.features % 2 == 0) o.reject("emb_dim", "must be odd: the time, cosines and sines");
  h.hidden = o.integer("num_inner_mlps", 2, 0, 64, "hidden layers of the filter's network");
  h.frequency = o.number("w", 1, -1e6, 1e6, "initial frequency of the network's sines");
  h.modulate = o.boolean("modulate", true, "the filter decays exponentially");
  h.bias = o.boolean("bias", true, "D, the filter's share of the token itself, acts");
  const char* pct = "share of l_max after which the decay has come to `target`";
  h.fast_decay = o.number("fast_decay_pct", 0.3, 1e-6, 1e6, fmt::format("last channel: {}", pct));
  h.slow_decay = o.number("slow_decay_pct", 1.5, 1e-6, 1e6, fmt::format("first channel: {}", pct));
  h.target = o.number("target", 0.01, 1e-12, 1, "see the decays");
  h.shift = o.number("shift", 0, -1e6, 1e6, "added to the decay");
  o.integer("num_heads", 1, 1, 1, "the reference fails with more");
  o.integer("num_blocks", 1, 1, 1, "the reference looks ahead with more");
  for (const char* unused : {"outer_mixing", "normalized"})
    if (o.boolean(unused, false, "only false"))
      o.reject(unused, "must be false: no published model has it");
  return h;
}

/// t / (l_max - 1).
Initialise times() {
  return [](std::span<double> values, RandomStream&) {
    const double last = static_cast<double>(values.size() - 1);
    for (std::size_t t = 0; t < values.size(); ++t)
      values[t] = last > 0 ? static_cast<double>(t) / last : 0;
  };
}

/// From the slow decay to the fast one, evenly over the channels.
Initialise decay_rates(const HyenaOptions& o) {
  const double slow = std::log(o.target) / o.slow_decay, fast = std::log(o.target) / o.fast_decay;
  return [=](std::span<double> values, RandomStream&) {
    for (std::size_t c = 0; c < values.size(); ++c) {
      const double last = static_cast<double>(values.size() - 1);
      values[c] = last > 0 ? slow + (fast - slow) * static_cast<double>(c) / last : slow;
    }
  };
}

class Hyena : public SequenceMixer {
 public:
  Hyena(const MixerContext& context, const HyenaOptions& o, ParameterDeclarer& d) : o_(o) {
    const Index width = o.d_model;
    in_ = d.weight("in_proj.weight", {3 * width, width}, context.linear_weight(width));
    in_bias_ = d.undecayed("in_proj.bias", {3 * width}, constant(0));
    short_ = d.weight("short_filter.weight", {3 * width, 1, o.short_filter},
                      torch_default(o.short_filter));
    short_bias_ = d.undecayed("short_filter.bias", {3 * width}, torch_default(o.short_filter));
    out_ = d.weight("out_proj.weight", {width, width}, context.residual_weight(width));
    out_bias_ = d.undecayed("out_proj.bias", {width}, constant(0));
    if (o.bias || context.zoology) skip_ = d.undecayed("filter_fn.bias", {width}, normal(1));
    declare_filter(context, d);
  }

  Tensor forward(Forward& f, const Tensor& u) const override {
    const Gated gated = split(f, u);
    return gate_and_project(f, convolve(f, gated.values), gated);
  }

  Tensor forward_rows(Forward& f, const Tensor& u, Index labels) const override {
    Graph& g = f.graph();
    const Gated all = split(f, u);
    // The values first: backward then adds few rows.
    const Gated rows{o_.bias ? gather_rows(g, all.values, labels) : all.values,
                     gather_rows(g, all.gate, labels)};
    return gate_and_project(f, gather_rows(g, convolve(f, all.values), labels), rows);
  }

  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index length) const override {
    return make_hyena_decoder(o_, parameters, length);
  }
  /// The long convolution's history; the short one is left out.
  std::optional<double> published_state_size(Index length) const override {
    return 4.0 * static_cast<double>(o_.d_model * length);
  }
  /// It learns slowly: 0.24 on the tiny MQAR after the steps that attention needs for 1.0.
  Traits traits() const override { return {true, false, 0.1, 1.0}; }

 private:
  void declare_filter(const MixerContext& context, ParameterDeclarer& d) {
    const Index bands = (o_.features - 1) / 2;
    // Q18: in the reference z is trained, and decays where no training sequence reaches.
    const Initialise z = position_features(o_.l_max, bands, context.zoology);
    const std::vector<Index> shape = {1, o_.l_max, o_.features};
    features_ = context.zoology ? d.weight("filter_fn.pos_emb.z", shape, z)
                                : d.buffer("filter_fn.pos_emb.z", shape, z);
    times_ = d.buffer("filter_fn.pos_emb.t", {1, o_.l_max, 1}, times());
    rates_ = d.buffer("filter_fn.modulation.deltas", {1, 1, o_.d_model}, decay_rates(o_));
    for (Index layer = 0; layer <= o_.hidden + 1; ++layer) {
      const Index in = layer == 0 ? o_.features : o_.order;
      const Index out = layer <= o_.hidden ? o_.order : o_.d_model;
      // Q7: the reference's initialisation pass leaves a filter that is almost zero; the sound
      // form keeps PyTorch's default.
      const Initialise weight = context.zoology ? context.linear_weight(in) : torch_default(in);
      layers_.push_back(d.weight(hyena_layer_name(layer, "weight"), {out, in}, weight));
      if (layer <= o_.hidden)
        layer_biases_.push_back(d.undecayed(hyena_layer_name(layer, "bias"), {out},
                                            context.zoology ? constant(0) : torch_default(in)));
    }
    sine_ = d.undecayed("filter_fn.implicit_filter.1.freq", {1, o_.order}, constant(o_.frequency));
  }

  /// The filter's first `length` taps, [R, length, D].
  Tensor filter(Forward& f, Index length) const {
    Graph& g = f.graph();
    Tensor a = f.parameter(features_).row_range(0, length);
    for (std::size_t layer = 0; layer < layer_biases_.size(); ++layer)
      a = sine(g, linear(g, a, f.parameter(layers_[layer]), f.parameter(layer_biases_[layer])),
               f.parameter(sine_));
    const Tensor h = linear(g, a, f.parameter(layers_.back()));
    if (!o_.modulate) return h;
    return exponential_window(g, h, f.parameter(times_).row_range(0, length), f.parameter(rates_),
                              o_.shift);
  }

  struct Gated {
    Tensor values, gate;
  };
  /// The values that the long convolution takes, and their second gate.
  Gated split(Forward& f, const Tensor& u) const {
    Graph& g = f.graph();
    const Index width = o_.d_model;
    check_length("hyena", "l_max", o_.l_max, u.shape[2]);
    const Tensor c = causal_conv(g, linear(g, u, f.parameter(in_), f.parameter(in_bias_)),
                                 f.parameter(short_), f.parameter(short_bias_));
    return {multiply(g, c.columns(2 * width, width), c.columns(0, width)), c.columns(width, width)};
  }

  Tensor convolve(Forward& f, const Tensor& values) const {
    return long_conv(f.graph(), values, filter(f, values.shape[2]));
  }

  /// `gated`: the same rows as y's.
  Tensor gate_and_project(Forward& f, const Tensor& y, const Gated& gated) const {
    Graph& g = f.graph();
    const Tensor h = o_.bias ? skip_gate(g, y, gated.values, f.parameter(skip_), gated.gate)
                             : multiply(g, y, gated.gate);
    return linear(g, h, f.parameter(out_), f.parameter(out_bias_));
  }

  HyenaOptions o_;
  Parameter in_, in_bias_, short_, short_bias_, out_, out_bias_, skip_;
  Parameter features_, times_, rates_, sine_;
  std::vector<Parameter> layers_, layer_biases_;
};

}  // namespace

std::string hyena_layer_name(Index layer, const std::string& parameter) {
  return fmt::format("filter_fn.implicit_filter.{}.{}", 2 * layer, parameter);
}

void register_hyena(MixerRegistry& registry) {
  registry.add("hyena",
               {"Two gates around a long convolution whose filter a small network makes (Poli et "
                "al. 2023).",
                [](const MixerContext& context, Options& options, ParameterDeclarer& d) {
                  return std::make_unique<Hyena>(context, read_options(context, options), d);
                },
                {deviations::kFilterStartsNearZero,
                 deviations::kOneBandOfPositions,
                 {"Q18",
                  "Hyena's position features are trained; rows beyond the training length only "
                  "decay",
                  "they are fixed"}}});
}

}  // namespace recallbench
