#include <algorithm>

#include "kernels/elementwise/elementwise.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/generalized_delta_rule/generalized_delta_rule.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/matmul/matmul.h"
#include "kernels/rwkv7_keys/rwkv7_keys.h"
#include "kernels/sigmoid_decay/sigmoid_decay.h"
#include "kernels/token_bonus/token_bonus.h"
#include "kernels/token_shift/token_shift.h"
#include "mixers/registry.h"
#include "mixers/rwkv7/rwkv7_decoder.h"
#include "mixers/rwkv7/rwkv7_start.h"

namespace recallbench {
namespace {

Rwkv7Sizes read_sizes(const MixerContext& context, Options& o) {
  Rwkv7Sizes s{};
  s.d_model = context.d_model;
  s.head_numbers = o.integer("head_dim", std::min<Index>(64, s.d_model), 1, s.d_model,
                             "keys and values of a head");
  if (s.d_model % s.head_numbers != 0)
    o.reject("head_dim", fmt::format("must divide d_model = {}", s.d_model));
  s.heads = s.d_model / s.head_numbers;
  s.norm_eps = static_cast<double>(s.head_numbers) *
               o.number("norm_eps", 1e-5, 1e-12, 1, "times head_dim: added to a head's variance");
  return s;
}

class Rwkv7 : public SequenceMixer {
 public:
  Rwkv7(const MixerContext& context, Options& options, ParameterDeclarer& d)
      : zoology_(context.zoology), size_(read_sizes(context, options)) {
    const Index width = size_.d_model;
    const Rwkv7Start start(context, size_.head_numbers);
    x_x_ = d.undecayed("x_x", {6, width}, start.x_x());
    k_k_ = d.undecayed("k_k", {width}, start.k_k());
    k_a_ = d.undecayed("k_a", {width}, start.k_a());
    r_k_ = d.undecayed("r_k", {size_.heads, size_.head_numbers}, start.r_k());
    const Initialise matrix = context.linear_weight(width);
    r_ = d.weight("r_proj.weight", {width, width}, matrix);
    k_ = d.weight("k_proj.weight", {width, width}, matrix);
    v_ = d.weight("v_proj.weight", {width, width}, matrix);
    // Quirk Q5: the reference does not rescale a projection of this name.
    o_ = d.weight("o_proj.weight", {width, width}, context.unrecognised_residual_weight(width));
    w_lora_ =
        declare_lora(context, options, d, "w_lora", "decay_low_rank_dim", 64, start.decay_bias());
    const Index v_rank = options.integer("v_low_rank_dim", 16, 1, 1 << 16,
                                         "rank of v_lora, which compat declares and nobody reads");
    // Quirk Q24: the reference never hands v_first on, so that v_lora is dead.
    if (context.zoology && context.layer > 0) lora(context, d, "v_lora", v_rank, constant(0));
    a_lora_ = declare_lora(context, options, d, "a_lora", "a_low_rank_dim", 64, start.rate_bias());
    gate_rank_ = options.integer("gate_low_rank_dim", 128, 1, 1 << 16, "rank of g_lora");
    g_lora_ = lora(context, d, "g_lora", gate_rank_, nullptr);
    norm_weight_ = d.undecayed("g_norm.weight", {width}, start.norm_weight());
    norm_bias_ = d.undecayed("g_norm.bias", {width}, constant(0));
  }

  Tensor forward(Forward& f, const Tensor& x) const override {
    return finish(f, mix(f, x, [](const Tensor& rows) { return rows; }));
  }

  /// The state needs all tokens; norm, bonus, gate and output projection need the labelled ones.
  Tensor forward_rows(Forward& f, const Tensor& x, Index labels) const override {
    return finish(
        f, mix(f, x, [&](const Tensor& rows) { return gather_rows(f.graph(), rows, labels); }));
  }

  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index) const override {
    return make_rwkv7_decoder(size_, parameters);
  }
  /// The states, without the last token.
  std::optional<double> published_state_size(Index) const override {
    return 4.0 * static_cast<double>(size_.d_model * size_.head_numbers);
  }
  /// On the tiny MQAR 0.97, with heads of 4 numbers 0.60. With a gate of low rank, and from the
  /// reference's start with several heads, it may not begin to learn within those steps.
  Traits traits() const override {
    const bool learns = !zoology_ && size_.head_numbers >= 4 && gate_rank_ >= 16;
    return {true, true, learns ? 0.3 : 0.0, 1.0};
  }

 private:
  struct Lora {
    Parameter first, second, bias;
  };
  /// What the end of the mixer reads, all [R, B, L, D], or of the labelled rows.
  struct Heads {
    Tensor o, r, k, v, xg;
  };

  /// Without `bias` it has none.
  Lora lora(const MixerContext& context, ParameterDeclarer& d, const std::string& name, Index rank,
            const Initialise& bias) const {
    Lora l;
    l.first = d.weight(name + ".lora.0.weight", {rank, size_.d_model},
                       context.linear_weight(size_.d_model));
    l.second =
        d.weight(name + ".lora.2.weight", {size_.d_model, rank}, context.linear_weight(rank));
    if (bias) l.bias = d.undecayed(name + ".lora.2.bias", {size_.d_model}, bias);
    return l;
  }
  Lora declare_lora(const MixerContext& context, Options& options, ParameterDeclarer& d,
                    const std::string& name, const std::string& key, Index rank,
                    const Initialise& bias) const {
    return lora(context, d, name, options.integer(key, rank, 1, 1 << 16, "rank of " + name), bias);
  }

  /// second · act(first · x) + bias
  Tensor low_rank(Forward& f, const Tensor& x, const Lora& l,
                  std::optional<Activation> inner) const {
    Tensor low = linear(f.graph(), x, f.parameter(l.first));
    if (inner) low = activate(f.graph(), *inner, low);
    return linear(f.graph(), low, f.parameter(l.second), f.optional(l.bias));
  }

  /// `rows` takes those rows of a tensor that the end of the mixer reads. Of r, k and v it does so
  /// before the recurrence, whose gradients, of all rows, then come first in backward: those of a
  /// few rows are added to them, and nothing is filled with zeros.
  template <class Rows>
  Heads mix(Forward& f, const Tensor& x, const Rows& rows) const {
    Graph& graph = f.graph();
    const std::vector<Tensor> shifted =
        token_shift(graph, x, f.parameter(x_x_), ShiftWeight::previous);
    const Tensor r = linear(graph, shifted[kR], f.parameter(r_));
    const Tensor v = linear(graph, shifted[kV], f.parameter(v_));
    const Tensor decay = bounded_decay(graph, low_rank(f, shifted[kW], w_lora_, Activation::tanh),
                                       Rwkv7Sizes::decay_bound());
    const Tensor logit = low_rank(f, shifted[kA], a_lora_, std::nullopt);
    const Rwkv7Keys keys = rwkv7_keys(
        graph,
        {linear(graph, shifted[kK], f.parameter(k_)), logit, f.parameter(k_k_), f.parameter(k_a_)},
        size_.heads);
    Heads h;
    h.xg = rows(shifted[kG]);
    h.r = rows(r);
    h.k = rows(keys.replacement);
    h.v = rows(v);
    h.o = rows(generalized_delta_rule(
        graph, {r, keys.replacement, v, decay, keys.removal, keys.rate}, size_.heads));
    return h;
  }

  Tensor finish(Forward& f, const Heads& h) const {
    Graph& graph = f.graph();
    const Tensor o = group_norm(graph, h.o, f.parameter(norm_weight_), f.parameter(norm_bias_),
                                size_.heads, size_.norm_eps);
    const Tensor y = token_bonus(graph, {o, h.r, h.k, h.v, f.parameter(r_k_)});
    const Tensor gate = low_rank(f, h.xg, g_lora_, Activation::sigmoid);
    return linear(graph, multiply(graph, y, gate), f.parameter(o_));
  }

  bool zoology_;
  Rwkv7Sizes size_;
  Index gate_rank_;
  Parameter x_x_, k_k_, k_a_, r_k_, r_, k_, v_, o_, norm_weight_, norm_bias_;
  Lora w_lora_, a_lora_, g_lora_;
};

}  // namespace

void register_rwkv7(MixerRegistry& registry) {
  registry.add(
      "rwkv7",
      {"RWKV-7 time mixing: a state that fades, forgets along one key and writes along "
       "another, all by the token (Peng et al. 2025).",
       [](const MixerContext& context, Options& options, ParameterDeclarer& d) {
         return std::make_unique<Rwkv7>(context, options, d);
       },
       {deviations::kOutputStartsUnscaled,
        {"Q23",
         "RWKV-7's `k_k` starts at 0, where its gradient is 0: it never removes anything "
         "from its state",
         "it starts as in the paper, and so do the other vectors"},
        {"",
         "RWKV-7's matrices start as every other mixer's; in the paper orthogonal, LoRAs and the "
         "output at 0",
         kSameUnderCompat},
        {"Q24", "RWKV-7 declares a `v_lora` beyond the first layer that nothing reads", "none"}}});
}

}  // namespace recallbench
