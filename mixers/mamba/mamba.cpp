#include <cmath>

#include "kernels/causal_conv/causal_conv.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/matmul/matmul.h"
#include "kernels/selective_scan/selective_scan.h"
#include "mixers/initialise.h"
#include "mixers/mamba/mamba_decoder.h"
#include "mixers/mamba/step_sizes.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

struct MambaOptions {
  MambaOptions(const MixerContext& context, Options& o) {
    size.d_model = context.d_model;
    size.states = o.integer("d_state", 16, 1, 4096, "states of each channel, N");
    size.conv = o.integer("d_conv", 4, 1, 64, "width of the causal convolution");
    size.inner = context.d_model * o.integer("expand", 2, 1, 64, "channels for each of d_model");
    size.rank = o.integer("dt_rank", 0, 0, 1 << 20, "rank of the step size; 0: d_model / 16, up");
    if (size.rank == 0) size.rank = (context.d_model + 15) / 16;
    conv_bias = o.boolean("conv_bias", true, "bias of the convolution");
    bias = o.boolean("bias", false, "biases of in_proj and out_proj");
    dt_start = read_step_sizes(o);
    dt_scale = o.number("dt_scale", 1.0, 1e-12, 1e3, "factor of dt_proj's initial bound");
    dt_constant = o.text("dt_init", "random", {"random", "constant"},
                         "dt_proj starts uniform within its bound, or at it") == "constant";
  }

  MambaSizes size{};
  bool conv_bias, bias, dt_constant;
  Initialise dt_start;
  double dt_scale;
};

/// ln(1), ..., ln(N) in every row.
Initialise log_of_state_numbers(Index states) {
  return [states](std::span<double> values, RandomStream&) {
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = std::log(static_cast<double>(static_cast<Index>(i) % states + 1));
  };
}

class Mamba : public SequenceMixer {
 public:
  Mamba(const MixerContext& context, Options& options, ParameterDeclarer& d)
      : Mamba(context, MambaOptions(context, options), d) {}

  Tensor forward(Forward& f, const Tensor& x) const override {
    const Tensor xz = linear(f.graph(), x, f.parameter(in_), f.optional(in_bias_));
    const Tensor y = scan(f, xz.columns(0, size_.inner));
    return gate_and_project(f, y, xz.columns(size_.inner, size_.inner));
  }

  /// The scan needs all tokens; the gate and the projections around it need the labelled ones.
  Tensor forward_rows(Forward& f, const Tensor& x, Index labels) const override {
    const Index inner = size_.inner;
    const Tensor rows = gather_rows(f.graph(), x, labels);  // first: backward then adds few rows
    const Tensor y =
        gather_rows(f.graph(), scan(f, f.linear_part(x, in_, in_bias_, 0, inner)), labels);
    return gate_and_project(f, y, f.linear_part(rows, in_, in_bias_, inner, inner));
  }

  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index) const override {
    return make_mamba_decoder(size_, parameters);
  }
  /// The reference's layer has 2 d N, whatever `expand` is, and leaves the convolution out.
  std::optional<double> published_state_size(Index) const override {
    return 4.0 * 2.0 * static_cast<double>(size_.d_model * size_.states);
  }
  /// It learns slowly: 0.26 on the tiny MQAR after the steps that attention needs for 1.0.
  Traits traits() const override { return {true, true, 0.1, 1.0}; }

 private:
  Mamba(const MixerContext& context, const MambaOptions& o, ParameterDeclarer& d) : size_(o.size) {
    const auto [width, inner, states, conv, rank] = size_;
    in_ = d.weight("in_proj.weight", {2 * inner, width}, context.linear_weight(width));
    if (o.bias) in_bias_ = d.undecayed("in_proj.bias", {2 * inner}, constant(0));
    conv_ = d.weight("conv1d.weight", {inner, 1, conv}, torch_default(conv));
    if (o.conv_bias) conv_bias_ = d.undecayed("conv1d.bias", {inner}, torch_default(conv));
    token_ = d.weight("x_proj.weight", {rank + 2 * states, inner}, context.linear_weight(inner));
    // Q4: in a transformer block the reference starts the step size as any Linear, with bias 0.
    const bool as_linear = context.transformer_block && context.zoology;
    const double bound = o.dt_scale / std::sqrt(static_cast<double>(rank));
    dt_ = d.weight("dt_proj.weight", {inner, rank},
                   as_linear       ? context.linear_weight(rank)
                   : o.dt_constant ? constant(bound)
                                   : uniform(bound));
    dt_bias_ = d.undecayed("dt_proj.bias", {inner}, as_linear ? constant(0) : o.dt_start);
    a_log_ = d.undecayed("A_log", {inner, states}, log_of_state_numbers(states));
    skip_ = d.undecayed("D", {inner}, constant(1));
    out_ = d.weight("out_proj.weight", {width, inner}, context.residual_weight(inner));
    if (o.bias) out_bias_ = d.undecayed("out_proj.bias", {width}, constant(0));
  }

  /// in_proj's first half [R, B, L, d_inner] → y before the gate.
  Tensor scan(Forward& f, const Tensor& projected) const {
    Graph& g = f.graph();
    const Tensor x =
        causal_conv(g, projected, f.parameter(conv_), f.optional(conv_bias_), ConvActivation::silu);
    const Tensor token = linear(g, x, f.parameter(token_));
    const Tensor dt =
        linear(g, token.columns(0, size_.rank), f.parameter(dt_), f.parameter(dt_bias_));
    return selective_scan(
        g, {x, dt, f.parameter(a_log_), token.columns(size_.rank, size_.states),
            token.columns(size_.rank + size_.states, size_.states), f.parameter(skip_)});
  }

  Tensor gate_and_project(Forward& f, const Tensor& y, const Tensor& z) const {
    return linear(f.graph(), gate(f.graph(), y, Activation::silu, z), f.parameter(out_),
                  f.optional(out_bias_));
  }

  MambaSizes size_;
  Parameter in_, in_bias_, conv_, conv_bias_, token_, dt_, dt_bias_, a_log_, skip_, out_, out_bias_;
};

}  // namespace

void register_mamba(MixerRegistry& registry) {
  registry.add(
      "mamba",
      {"Selective state space: a gated recurrence whose decay and writing depend on the token "
       "(Gu and Dao 2023).",
       [](const MixerContext& context, Options& options, ParameterDeclarer& d) {
         return std::make_unique<Mamba>(context, options, d);
       },
       {deviations::kNoDropoutInMambaBlocks,
        {"Q4",
         "the initialisation of a transformer block overrides a mixer's own: Mamba's `dt_proj` "
         "in a hybrid starts at N(0, 0.02²), bias 0",
         "it keeps its own"},
        deviations::kDecayOnEverything,
        {"Q11", "a model of Mamba blocks reports no state size",
         "the layer's formula, as in the papers; under compat too, but for `recallbench forward`"}},
       "mamba"});
}

}  // namespace recallbench
