#include "mixers/ttt_linear/ttt.h"

#include "kernels/causal_conv/causal_conv.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/norm.h"
#include "kernels/rotary/rotary.h"
#include "kernels/ttt/ttt.h"
#include "mixers/initialise.h"

namespace recallbench {
namespace {

constexpr double kPostNormEps = 1e-6;
// The inner model's LayerNorm over two numbers says only which is larger, and has no gradient to
// learn from.
constexpr Index kLeastHead = 4;

TttConfig read_options(const MixerContext& context, Options& o, bool mlp) {
  TttConfig c;
  c.d_model = context.d_model;
  c.mlp = mlp;
  c.heads = o.integer("num_heads", 1, 1, 1 << 20, "heads, each with an inner model of its own");
  if (c.d_model % (2 * c.heads) != 0)
    o.reject("num_heads", fmt::format("must divide d_model = {} into even parts", c.d_model));
  if (c.d_model / c.heads < kLeastHead)
    o.reject("num_heads", fmt::format("must leave a head at least {} of d_model = {} numbers",
                                      kLeastHead, c.d_model));
  c.base_rate = o.number("ttt_base_lr", 1.0, 0.0, 1e6, "of the inner learning rates");
  c.mini_batch =
      o.integer("mini_batch_size", 16, 1, 1024, "tokens whose gradients share one set of weights");
  c.gate = o.boolean("use_gate", false, "GELU(g_proj x) on the output");
  c.share_qk = o.boolean("share_qk", false, "q and k are convolutions of one projection");
  c.conv_width = o.integer("conv_kernel", 4, 1, 64,
                           "tokens that these convolutions see; without share_qk "
                           "there are none");
  c.theta = o.number("rope_theta", 10000.0, 1.0, 1e12, "base of the rotary frequencies");
  return c;
}

class TttMixer : public SequenceMixer {
 public:
  TttMixer(const MixerContext& context, const TttConfig& config, ParameterDeclarer& d)
      : c_(config) {
    const Index width = c_.d_model, heads = c_.heads, f = c_.head_dim();
    // What is no Linear starts so in any block.
    const Initialise inner = normal(0.02), start = context.linear_weight(width);
    const auto named = [](const char* name) { return fmt::format("ttt_layer.{}", name); };
    step_ = d.undecayed(named("learnable_token_idx"), {c_.mini_batch}, constant(0));
    rate_ = d.weight(named("learnable_ttt_lr_weight"), {heads, 1, width}, inner);
    rate_bias_ = d.undecayed(named("learnable_ttt_lr_bias"), {heads, 1}, constant(0));
    norm_ = d.undecayed(named("ttt_norm_weight"), {heads, f}, constant(1));
    norm_bias_ = d.undecayed(named("ttt_norm_bias"), {heads, f}, constant(0));
    const Index out = c_.mlp ? c_.hidden() : f;
    w1_ = d.weight(named("W1"), {heads, f, out}, inner);
    b1_ = d.undecayed(named("b1"), {heads, 1, out}, constant(0));
    if (c_.mlp) {
      w2_ = d.weight(named("W2"), {heads, c_.hidden(), f}, inner);
      b2_ = d.undecayed(named("b2"), {heads, 1, f}, constant(0));
    }
    q_ = d.weight(named("q_proj.weight"), {width, width}, start);
    if (!c_.share_qk) k_ = d.weight(named("k_proj.weight"), {width, width}, start);
    v_ = d.weight(named("v_proj.weight"), {width, width}, start);
    // Q5: the reference does not rescale a projection of this name.
    o_ = d.weight(named("o_proj.weight"), {width, width},
                  context.unrecognised_residual_weight(width));
    if (c_.share_qk) {
      const Initialise taps = torch_default(c_.conv_width);
      conv_q_ = {d.weight(named("conv_q.weight"), {width, 1, c_.conv_width}, taps),
                 d.undecayed(named("conv_q.bias"), {width}, taps)};
      conv_k_ = {d.weight(named("conv_k.weight"), {width, 1, c_.conv_width}, taps),
                 d.undecayed(named("conv_k.bias"), {width}, taps)};
    }
    if (c_.gate) gate_ = d.weight(named("g_proj.weight"), {width, width}, start);
    post_norm_ = d.undecayed(named("post_norm.weight"), {width}, constant(1));
    post_norm_bias_ = d.undecayed(named("post_norm.bias"), {width}, constant(0));
  }

  Tensor forward(Forward& f, const Tensor& x) const override { return project(f, learn(f, x), x); }
  /// Every token trains the inner model; only the labelled ones are projected.
  Tensor forward_rows(Forward& f, const Tensor& x, Index labels) const override {
    Graph& g = f.graph();
    const Tensor rows = c_.gate ? gather_rows(g, x, labels) : x;  // first: backward adds few rows
    return project(f, gather_rows(g, learn(f, x), labels), rows);
  }
  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index) const override {
    return make_ttt_decoder(c_, parameters);
  }
  /// Numbers of the inner models (zoology ttt.py: state_size).
  std::optional<double> published_state_size(Index) const override {
    const Index f = c_.head_dim();
    return 4.0 * static_cast<double>(c_.heads * (c_.mlp ? 8 * f * f + 5 * f : f * f + f));
  }
  /// 0.95 to 0.99 on the tiny MQAR, 0.56 with a gate, 0.44 with many narrow heads; at chance after
  /// so few steps with a gate and all tokens in one mini-batch.
  Traits traits() const override { return {true, true, c_.mini_batch <= 16 ? 0.2 : 0.0, 1.0}; }

 private:
  struct Conv {
    Parameter weight, bias;
  };

  /// x → the inner model's answers [R, B, L, d].
  Tensor learn(Forward& f, const Tensor& x) const {
    Graph& g = f.graph();
    const RotaryOptions turns{c_.heads, c_.mini_batch, false};
    const Tensor shared = linear(g, x, f.parameter(q_));
    const Tensor q = c_.share_qk ? convolve(f, shared, conv_q_) : shared;
    const Tensor k = c_.share_qk ? convolve(f, shared, conv_k_) : linear(g, x, f.parameter(k_));
    const Tensor rate_bias = f.parameter(rate_bias_).reshaped({x.shape[0], 1, c_.heads});
    const Tensor rate =
        activate(g, Activation::sigmoid, linear(g, x, f.parameter(rate_), rate_bias));
    TttInputs in{rotary(g, q, c_.theta, turns),
                 rotary(g, k, c_.theta, turns),
                 linear(g, x, f.parameter(v_)),
                 rate,
                 f.parameter(step_),
                 f.parameter(norm_),
                 f.parameter(norm_bias_),
                 {f.parameter(w1_), f.parameter(b1_)},
                 std::nullopt};
    if (c_.mlp) in.second = TttLayer{f.parameter(w2_), f.parameter(b2_)};
    return ttt(g, in, c_.base_rate / static_cast<double>(c_.head_dim()));
  }

  static Tensor convolve(Forward& f, const Tensor& x, const Conv& conv) {
    return causal_conv(f.graph(), x, f.parameter(conv.weight), f.parameter(conv.bias));
  }

  Tensor project(Forward& f, const Tensor& o, const Tensor& x) const {
    Graph& g = f.graph();
    Tensor y =
        layer_norm(g, o, f.parameter(post_norm_), f.parameter(post_norm_bias_), kPostNormEps);
    if (c_.gate) y = gate(g, y, Activation::gelu_tanh, linear(g, x, f.parameter(gate_)));
    return linear(g, y, f.parameter(o_));
  }

  TttConfig c_;
  Parameter step_, rate_, rate_bias_, norm_, norm_bias_, w1_, b1_, w2_, b2_;
  Parameter q_, k_, v_, o_, gate_, post_norm_, post_norm_bias_;
  Conv conv_q_, conv_k_;
};

}  // namespace

MixerFactory ttt_factory(bool mlp) {
  return [mlp](const MixerContext& context, Options& options, ParameterDeclarer& declarer) {
    return std::make_unique<TttMixer>(context, read_options(context, options, mlp), declarer);
  };
}

}  // namespace recallbench
