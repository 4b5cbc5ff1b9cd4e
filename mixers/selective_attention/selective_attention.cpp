#include "mixers/selective_attention/selective_attention.h"

#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/matmul/matmul.h"
#include "mixers/registry.h"
#include "mixers/selective_attention/selection.h"

namespace recallbench {
namespace {

SelectiveAttentionConfig read_options(const MixerContext& context, Options& o) {
  SelectiveAttentionConfig c;
  const std::string selection = o.text("selection", "sigmoid", {"softmax", "sigmoid", "sma"},
                                       "how a token's share of attention is found");
  c.selection = selection == "softmax"   ? Selection::softmax
                : selection == "sigmoid" ? Selection::sigmoid
                                         : Selection::sma;
  c.attention.d_model = context.d_model;
  c.attention.heads = o.integer("num_heads", 1, 1, context.d_model, "heads; divides d_model");
  if (context.d_model % c.attention.heads != 0)
    o.reject("num_heads", fmt::format("must divide d_model, which is {}", context.d_model));
  c.attention.bias = o.boolean("bias", true, "of Wqkv and out_proj");
  // In the reference `bias` rules Wqkv alone.
  c.attention.output_bias = c.attention.bias || context.zoology;
  c.attention.dropout = read_attention_dropout(o);
  c.lookups = o.integer("n_lookups", 0, 0, 8192, "tokens of a sequence that attend; 0: √L");
  if (c.selection == Selection::sigmoid)
    c.penalty = o.number("selection_penalty", 1e-3, 0.0, 1e6,
                         "of a mean share above n_lookups / L, in the training loss");
  if (c.selection == Selection::sma)
    c.alpha = o.number("alpha", 0.3, 1e-6, 1e6, "initial temperature over √d_model");
  c.zoology = context.zoology;
  return c;
}

class SelectiveAttention : public CachedAttention {
 public:
  SelectiveAttention(const MixerContext& context, const SelectiveAttentionConfig& config,
                     ParameterDeclarer& d)
      : CachedAttention(config.attention, context, d), c_(config) {
    const Index width = c_.attention.d_model;
    const bool sma = c_.selection == Selection::sma;
    const std::string name = sma ? "selection_proj" : "selecting";
    weight_ = d.weight(name + ".weight", {sma ? 2 : 1, width}, context.linear_weight(width));
    if (c_.selection != Selection::sigmoid)
      bias_ = d.undecayed(name + ".bias", {sma ? 2 : 1}, constant(0));
    if (sma)
      temperature_ = d.undecayed("temperature", {1},
                                 constant(c_.alpha * std::sqrt(static_cast<double>(width))));
  }

  Tensor forward(Forward& f, const Tensor& x) const override {
    return add_scaled(f.graph(), x, share(f, x), CachedAttention::forward(f, x));
  }
  /// Attention at the labelled rows alone; what is selected may depend on all tokens.
  Tensor forward_rows(Forward& f, const Tensor& x, Index labels) const override {
    Graph& g = f.graph();
    const Tensor s = gather_rows(g, share(f, x), labels);
    return add_scaled(g, gather_rows(g, x, labels), s, CachedAttention::forward_rows(f, x, labels));
  }
  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index) const override {
    return make_selective_attention_decoder(c_, parameters);
  }
  std::optional<double> published_state_size(Index) const override { return std::nullopt; }
  /// Soundly 1.0 on the tiny MQAR, but `softmax` at chance; T4 evaluates too few tokens.
  Traits traits() const override {
    const bool learns = !c_.zoology && c_.selection != Selection::softmax;
    return {!c_.zoology, false, learns ? 0.9 : 0.0, 1.0};
  }

 private:
  /// Each token's share s of attention's output, [R, B, L, 1].
  Tensor share(Forward& f, const Tensor& x) const {
    Graph& g = f.graph();
    const Tensor z = linear(g, x, f.parameter(weight_), f.optional(bias_));
    Tensor s;
    if (c_.selection == Selection::softmax)
      s = position_softmax(g, z, !c_.zoology);  // T4: the reference's sees the whole sequence
    else if (c_.selection == Selection::sigmoid)
      s = activate(g, Activation::sigmoid, z);
    else
      s = tempered_gate(g, z, f.parameter(temperature_));
    const double length = static_cast<double>(x.shape[2]);
    const double lookups = c_.lookups > 0 ? static_cast<double>(c_.lookups) : std::sqrt(length);
    if (g.training()) {
      if (c_.penalty > 0) f.add_auxiliary_loss(lookup_penalty(g, s, c_.penalty, lookups / length));
      return s;
    }
    // T4: to evaluate, the reference keeps the largest shares of the whole sequence.
    if (c_.zoology)
      return keep_lookups(g, s, std::min(x.shape[2], static_cast<Index>(std::ceil(lookups))));
    return c_.selection == Selection::softmax ? s : keep_lookups(g, s, 0);
  }

  SelectiveAttentionConfig c_;
  Parameter weight_, bias_, temperature_;
};

}  // namespace

void register_selective_attention(MixerRegistry& registry) {
  registry.add(
      "selective_attention",
      {"Softmax attention for the tokens that ask for it, the others pass (Arora et al. "
       "2023; Ren et al. 2023).",
       [](const MixerContext& context, Options& options, ParameterDeclarer& d) {
         return std::make_unique<SelectiveAttention>(context, read_options(context, options), d);
       },
       {{"T4",
         "selective attention is evaluated at the √L largest shares of the whole sequence, "
         "and its `softmax` runs over all positions",
         "at shares above 1/2; over the positions up to t"}}});
}

}  // namespace recallbench
