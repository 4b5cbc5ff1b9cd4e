#include <algorithm>
#include <cmath>

#include "kernels/causal_conv/causal_conv.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gated_norm/gated_norm.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/matmul/matmul.h"
#include "kernels/ssd/ssd.h"
#include "mixers/initialise.h"
#include "mixers/mamba/step_sizes.h"
#include "mixers/mamba2/mamba2_decoder.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

struct Mamba2Options {
  Mamba2Options(const MixerContext& context, Options& o) {
    size.d_model = context.d_model;
    size.states = o.integer("d_state", 128, 1, 4096, "states of each channel, N");
    size.conv = o.integer("d_conv", 4, 1, 64, "width of the causal convolution");
    size.inner = context.d_model * o.integer("expand", 2, 1, 64, "channels for each of d_model");
    size.head_dim = o.integer("headdim", 0, 0, 1 << 20,
                              "channels of a head; 0: the largest divisor of all up to 64");
    if (size.head_dim == 0) {
      size.head_dim = std::min<Index>(64, size.inner);
      while (size.inner % size.head_dim != 0)
        --size.head_dim;
    }
    if (size.inner % size.head_dim != 0)
      o.reject("headdim", fmt::format("must divide the {} channels", size.inner));
    size.groups = o.integer("ngroups", 1, 1, 1 << 20, "groups of heads, each with its own b and c");
    if (size.heads() % size.groups != 0)
      o.reject("ngroups", fmt::format("must divide the {} heads", size.heads()));
    skip_by_channel = o.boolean("D_has_hdim", false, "D is one a channel instead of one a head");
    size.rms_norm = o.boolean("rmsnorm", true, "RMSNorm over each group beside the gate");
    size.norm_before_gate = o.boolean("norm_before_gate", false, "the norm comes before the gate");
    conv_bias = o.boolean("conv_bias", true, "bias of the convolution");
    bias = o.boolean("bias", false, "biases of in_proj and out_proj");
    dt_start = read_step_sizes(o);
    o.integer("chunk_size", 256, 1, 1 << 20,
              "the reference's blocking; results do not depend on it, ours is fixed");
  }

  Mamba2Sizes size{};
  bool skip_by_channel, conv_bias, bias;
  Initialise dt_start;
};

/// ln of numbers uniform in [1, 16].
Initialise log_uniform_rates() {
  return [](std::span<double> values, RandomStream& random) {
    uniform(1)(values, random);
    for (double& v : values)
      v = std::log(8.5 + 7.5 * v);
  };
}

class Mamba2 : public SequenceMixer {
 public:
  Mamba2(const MixerContext& context, Options& options, ParameterDeclarer& d)
      : Mamba2(context, Mamba2Options(context, options), d) {}

  Tensor forward(Forward& f, const Tensor& u) const override {
    const Tensor all = linear(f.graph(), u, f.parameter(in_), f.optional(in_bias_));
    const Tensor y = recur(f, all.columns(size_.inner, size_.convolved() + size_.heads()));
    return gate_and_project(f, y, all.columns(0, size_.inner));
  }

  /// The recurrence needs all tokens; the gate and the projections around it need the labelled
  /// ones.
  Tensor forward_rows(Forward& f, const Tensor& u, Index labels) const override {
    const Index inner = size_.inner, recurs = size_.convolved() + size_.heads();
    const Tensor rows = gather_rows(f.graph(), u, labels);  // first: backward then adds few rows
    const Tensor y =
        gather_rows(f.graph(), recur(f, f.linear_part(u, in_, in_bias_, inner, recurs)), labels);
    return gate_and_project(f, y, f.linear_part(rows, in_, in_bias_, 0, inner));
  }

  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index) const override {
    return make_mamba2_decoder(size_, parameters);
  }
  /// The reference's layer has 2 d N, whatever `expand` is, and leaves the convolution out.
  std::optional<double> published_state_size(Index) const override {
    return 4.0 * 2.0 * static_cast<double>(size_.d_model * size_.states);
  }
  /// 0.69 on the tiny MQAR; 0.22 with three states in two groups.
  Traits traits() const override { return {true, true, 0.1, 1.0}; }

 private:
  Mamba2(const MixerContext& context, const Mamba2Options& o, ParameterDeclarer& d)
      : size_(o.size) {
    const Index width = size_.d_model, inner = size_.inner;
    const Index projected = inner + size_.convolved() + size_.heads();
    in_ = d.weight("in_proj.weight", {projected, width}, context.linear_weight(width));
    if (o.bias) in_bias_ = d.undecayed("in_proj.bias", {projected}, constant(0));
    conv_ =
        d.weight("conv1d.weight", {size_.convolved(), 1, size_.conv}, torch_default(size_.conv));
    if (o.conv_bias)
      conv_bias_ = d.undecayed("conv1d.bias", {size_.convolved()}, torch_default(size_.conv));
    dt_bias_ = d.undecayed("dt_bias", {size_.heads()}, o.dt_start);
    a_log_ = d.undecayed("A_log", {size_.heads()}, log_uniform_rates());
    skip_ = d.undecayed("D", {o.skip_by_channel ? inner : size_.heads()}, constant(1));
    if (size_.rms_norm) norm_ = d.undecayed("norm.weight", {inner}, constant(1));
    out_ = d.weight("out_proj.weight", {width, inner}, context.residual_weight(inner));
    if (o.bias) out_bias_ = d.undecayed("out_proj.bias", {width}, constant(0));
  }

  /// [x ; b ; c ; dt] before the convolution → y [R, B, L, d_inner] before the gate.
  Tensor recur(Forward& f, const Tensor& projected) const {
    Graph& g = f.graph();
    const Index inner = size_.inner, tokens = size_.tokens();
    const Tensor xbc = causal_conv(g, projected.columns(0, size_.convolved()), f.parameter(conv_),
                                   f.optional(conv_bias_), ConvActivation::silu);
    return ssd(g,
               {xbc.columns(0, inner), projected.columns(size_.convolved(), size_.heads()),
                f.parameter(dt_bias_), f.parameter(a_log_), xbc.columns(inner, tokens),
                xbc.columns(inner + tokens, tokens), f.parameter(skip_)},
               size_.groups);
  }

  /// Each group is normed by itself, and goes through its own columns of out_proj.
  Tensor gate_and_project(Forward& f, const Tensor& y, const Tensor& z) const {
    Graph& g = f.graph();
    const Tensor weight = f.parameter(out_);
    if (!size_.rms_norm)
      return linear(g, gate(g, y, Activation::silu, z), weight, f.optional(out_bias_));
    const Index width = size_.inner / size_.groups;
    const GateOrder order = size_.norm_before_gate ? GateOrder::after_norm : GateOrder::before_norm;
    std::optional<Tensor> sum;
    for (Index first = 0; first < size_.inner; first += width) {
      const Tensor h = gated_norm(g, y.columns(first, width), z.columns(first, width),
                                  f.parameter(norm_).columns(first, width), {.order = order});
      const Tensor part =
          linear(g, h, weight.columns(first, width), sum ? std::nullopt : f.optional(out_bias_));
      sum = sum ? add(g, *sum, part) : part;
    }
    return *sum;
  }

  Mamba2Sizes size_;
  Parameter in_, in_bias_, conv_, conv_bias_, dt_bias_, a_log_, skip_, norm_, out_, out_bias_;
};

}  // namespace

void register_mamba2(MixerRegistry& registry) {
  registry.add(
      "mamba2",
      {"State-space duality: a gated recurrence with one decay a head, run as attention within "
       "chunks (Dao and Gu 2024).",
       [](const MixerContext& context, Options& options, ParameterDeclarer& d) {
         return std::make_unique<Mamba2>(context, options, d);
       },
       {deviations::kNoDropoutInMambaBlocks, deviations::kDecayOnEverything},
       "mamba2"});
}

}  // namespace recallbench
