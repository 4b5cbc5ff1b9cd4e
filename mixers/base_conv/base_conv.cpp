#include "mixers/base_conv/base_conv.h"

#include "kernels/causal_conv/causal_conv.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gated_conv/gated_conv.h"
#include "kernels/long_conv/long_conv.h"
#include "kernels/matmul/matmul.h"
#include "kernels/transpose/transpose.h"
#include "mixers/initialise.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

class BaseConv : public SequenceMixer {
 public:
  BaseConv(const MixerContext& context, const BaseConvOptions& options, ParameterDeclarer& d)
      : context_(context), options_(options) {
    const Index dim = context.d_model;
    projection_ = d.weight("projection.weight", {dim, dim}, context.linear_weight(dim));
    projection_bias_ = d.undecayed("projection.bias", {dim}, constant(0));
    switch (options.form) {
      case BaseConvForm::short_filter:
        filter_ = d.weight("conv.conv.weight", {dim, 1, options.kernel_size},
                           torch_default(options.kernel_size));
        filter_bias_ = d.undecayed("conv.conv.bias", {dim}, torch_default(options.kernel_size));
        break;
      case BaseConvForm::long_explicit:
        filter_ = d.weight("conv.filter", {dim, options.l_max}, normal(1));
        break;
      case BaseConvForm::long_implicit:
        declare_implicit(d);
        break;
    }
  }

  Tensor forward(Forward& f, const Tensor& u) const override {
    Graph& g = f.graph();
    if (options_.form == BaseConvForm::short_filter && !options_.use_act)
      return gated_conv(g, u, project(f, u), f.parameter(filter_), f.parameter(filter_bias_));
    const Tensor conv = convolve(f, u), z = project(f, u);
    return add(g, options_.use_act ? gate(g, conv, Activation::silu, z) : multiply(g, conv, z), u);
  }

  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index length) const override {
    return make_base_conv_decoder(options_, context_, parameters, length);
  }

  /// d K for a short filter; d L for a long one (zoology convolution.py: state_size).
  std::optional<double> published_state_size(Index length) const override {
    const Index taps = options_.form == BaseConvForm::short_filter ? options_.kernel_size : length;
    return 4.0 * static_cast<double>(context_.d_model * taps);
  }

  Traits traits() const override {
    const bool short_filter = options_.form == BaseConvForm::short_filter;
    // Q17: in the reference an explicit filter longer than the sequence looks ahead.
    const bool causal = !(context_.zoology && options_.form == BaseConvForm::long_explicit);
    return {causal, short_filter, 0.0, short_filter ? 0.3 : 1.0,
            short_filter ? options_.kernel_size - 1 : 0};
  }

 private:
  void declare_implicit(ParameterDeclarer& d) {
    const Index dim = context_.d_model;
    // Q7: the reference's initialisation pass leaves a filter that is almost zero; the sound form
    // keeps PyTorch's default.
    const auto weight = [&](Index fan_in) {
      return context_.zoology ? context_.linear_weight(fan_in) : torch_default(fan_in);
    };
    const auto bias = [&](Index fan_in) {
      return context_.zoology ? constant(0) : torch_default(fan_in);
    };
    features_ = d.buffer("conv.pos_emb.z", {1, options_.l_max, 3},
                         position_features(options_.l_max, 1, context_.zoology));
    mlp0_ = d.weight("conv.mlp.0.weight", {16, 3}, weight(3));
    mlp0_bias_ = d.undecayed("conv.mlp.0.bias", {16}, bias(3));
    mlp2_ = d.weight("conv.mlp.2.weight", {dim, 16}, weight(16));
    mlp2_bias_ = d.undecayed("conv.mlp.2.bias", {dim}, bias(16));
  }

  Tensor project(Forward& f, const Tensor& u) const {
    return linear(f.graph(), u, f.parameter(projection_), f.parameter(projection_bias_));
  }

  /// The convolution, and its activation where there is one.
  Tensor convolve(Forward& f, const Tensor& u) const {
    if (options_.form == BaseConvForm::short_filter)
      return causal_conv(f.graph(), u, f.parameter(filter_), f.parameter(filter_bias_),
                         options_.use_act ? ConvActivation::silu : ConvActivation::none);
    const Tensor y = convolve_long(f, u);
    return options_.use_act ? activate(f.graph(), Activation::silu, y) : y;
  }

  Tensor convolve_long(Forward& f, const Tensor& u) const {
    Graph& g = f.graph();
    const Index length = u.shape[2];
    if (options_.form == BaseConvForm::long_explicit) {
      const LongConvWrap wrap = context_.zoology ? LongConvWrap::circular : LongConvWrap::none;
      return add(g, long_conv(g, u, transpose(g, f.parameter(filter_)), wrap), u);
    }
    check_length("base_conv", "l_max", options_.l_max, length);
    const Tensor z = f.parameter(features_).row_range(0, length);
    const Tensor hidden =
        activate(g, Activation::relu, linear(g, z, f.parameter(mlp0_), f.parameter(mlp0_bias_)));
    const Tensor filter = linear(g, hidden, f.parameter(mlp2_), f.parameter(mlp2_bias_));
    return add(g, long_conv(g, u, filter), u);
  }

  MixerContext context_;
  BaseConvOptions options_;
  Parameter projection_, projection_bias_, filter_, filter_bias_;
  Parameter features_, mlp0_, mlp0_bias_, mlp2_, mlp2_bias_;
};

BaseConvOptions read_options(const MixerContext& context, Options& options) {
  BaseConvOptions o;
  const auto sizes = options.integers("kernel_size", {{3}}, -1, 8192,
                                      "taps; -1: as long as the sequence; a list: one a layer");
  if (sizes.size() > 1 && sizes.size() <= static_cast<std::size_t>(context.layer))
    options.reject("kernel_size",
                   fmt::format("needs an entry for each of {} layers", context.n_layers));
  o.kernel_size = sizes.size() == 1 ? sizes[0] : sizes[static_cast<std::size_t>(context.layer)];
  if (o.kernel_size == 0) options.reject("kernel_size", "must be -1 or at least 1");
  const bool implicit = options.boolean("implicit_long_conv", true,
                                        "a long filter comes from a small network over positions");
  o.l_max = options.length("l_max", 1024, 8192, "longest sequence of a long filter");
  o.use_act = options.boolean("use_act", false, "SiLU on both factors");
  o.form = o.kernel_size > 0 ? BaseConvForm::short_filter
           : implicit        ? BaseConvForm::long_implicit
                             : BaseConvForm::long_explicit;
  return o;
}

}  // namespace

void register_base_conv(MixerRegistry& registry) {
  registry.add("base_conv",
               {"Gated convolution, short or long (Arora et al. 2023, arXiv 2312.04927).",
                [](const MixerContext& context, Options& options, ParameterDeclarer& declarer) {
                  return std::make_unique<BaseConv>(context, read_options(context, options),
                                                    declarer);
                },
                {deviations::kFilterStartsNearZero,
                 deviations::kOneBandOfPositions,
                 {"Q17", "an explicit filter longer than the sequence wraps around and looks ahead",
                  "its taps from L on are ignored"}}});
}

}  // namespace recallbench
