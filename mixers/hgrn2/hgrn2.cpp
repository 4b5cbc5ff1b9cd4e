#include <algorithm>
#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/gated_linear_attention/gated_linear_attention.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/norm.h"
#include "kernels/sigmoid_decay/sigmoid_decay.h"
#include "mixers/hgrn2/hgrn2_decoder.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

Hgrn2Sizes read_sizes(const MixerContext& context, Options& o) {
  const Index d = context.d_model;
  Hgrn2Sizes s{};
  s.keys = o.integer("expand_ratio", std::min<Index>(128, d), 1, d, "forget gates of a head");
  if (d % s.keys != 0) o.reject("expand_ratio", fmt::format("must divide d_model = {}", d));
  s.heads = o.integer("num_heads", d / s.keys, 1, d, "heads: d_model / expand_ratio");
  if (s.heads != d / s.keys)
    o.reject("num_heads", fmt::format("must be d_model / expand_ratio = {}", d / s.keys));
  s.values = d / s.heads;
  s.lower_bound = o.number("lower_bound", 0, 0, 0.999999, "least share of its state a cell keeps");
  if (o.boolean("use_short_conv", false, "accepted where false: put a base_conv layer before"))
    o.reject("use_short_conv", "must be false; a base_conv layer before this one convolves");
  const double eps = o.number("norm_eps", 1e-5, 1e-12, 1, "added to the mean square");
  // The reference's layer takes the option and does not hand it on.
  s.norm_eps = context.zoology ? 1e-5 : eps;
  return s;
}

class Hgrn2 : public SequenceMixer {
 public:
  Hgrn2(const MixerContext& context, Options& options, ParameterDeclarer& d)
      : size_(read_sizes(context, options)) {
    const Index width = context.d_model;
    const Initialise start = context.linear_weight(width);
    q_ = d.weight("q_proj.weight", {width, width}, start);
    f_ = d.weight("f_proj.weight", {width, width}, start);
    i_ = d.weight("i_proj.weight", {width, width}, start);
    norm_ = d.undecayed("g_norm.weight", {width}, constant(1));
    // Quirk Q5: the reference does not rescale a projection of this name.
    o_ = d.weight("o_proj.weight", {width, width}, context.unrecognised_residual_weight(width));
  }

  Tensor forward(Forward& f, const Tensor& x) const override { return finish(f, mix(f, x)); }

  /// The state needs all tokens; norm and output projection need the labelled ones.
  Tensor forward_rows(Forward& f, const Tensor& x, Index labels) const override {
    return finish(f, gather_rows(f.graph(), mix(f, x), labels));
  }

  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index) const override {
    return make_hgrn2_decoder(size_, parameters);
  }
  std::optional<double> published_state_size(Index) const override {
    return 4.0 * static_cast<double>(size_.heads * size_.keys * size_.values);
  }
  /// Gates begin halfway between the lower bound and 1. From 1/2 it forgets within a few tokens and
  /// stays at chance on the tiny MQAR; a bound near 1 lets it recall.
  Traits traits() const override {
    return {true, true, size_.lower_bound >= 0.95 ? 0.1 : 0.0,
            size_.lower_bound <= 0.5 ? 0.3 : 1.0};
  }

 private:
  Tensor mix(Forward& f, const Tensor& x) const {
    Graph& graph = f.graph();
    const Tensor q = activate(graph, Activation::silu, linear(graph, x, f.parameter(q_)));
    const Tensor decay =
        sigmoid_decay(graph, linear(graph, x, f.parameter(f_)), {.lower_bound = size_.lower_bound});
    return gated_linear_attention(
        graph, {q, decay_complement(graph, decay), linear(graph, x, f.parameter(i_)), decay},
        {.heads = size_.heads,
         .state_heads = size_.heads,
         .scale = 1 / std::sqrt(static_cast<double>(size_.keys)),
         .constant_decays = {}});
  }

  Tensor finish(Forward& f, const Tensor& o) const {
    const Tensor y = rms_norm(f.graph(), o, f.parameter(norm_), size_.norm_eps);
    return linear(f.graph(), y, f.parameter(o_));
  }

  Hgrn2Sizes size_;
  Parameter q_, f_, i_, norm_, o_;
};

}  // namespace

void register_hgrn2(MixerRegistry& registry) {
  registry.add("hgrn2",
               {"Gated linear recurrence with an expanded state: what a cell forgets is what it "
                "takes in (Qin et al. 2024).",
                [](const MixerContext& context, Options& options, ParameterDeclarer& d) {
                  return std::make_unique<Hgrn2>(context, options, d);
                },
                {deviations::kOutputStartsUnscaled,
                 {"", "HGRN2 takes `norm_eps` and uses 1e-5", "it acts"},
                 {"",
                  "HGRN2's `lower_bound` is a number of the configuration; in the paper lower "
                  "bounds are learned, one a layer and channel, growing with depth",
                  kSameUnderCompat}}});
}

}  // namespace recallbench
