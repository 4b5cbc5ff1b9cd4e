#include <algorithm>
#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/gather_rows/gather_rows.h"
#include "kernels/matmul/matmul.h"
#include "kernels/token_shift/token_shift.h"
#include "kernels/wkv/wkv.h"
#include "mixers/initialise.h"
#include "mixers/registry.h"
#include "mixers/rwkv4/rwkv4_decoder.h"

namespace recallbench {
namespace {

/// values[c] = f(c)
template <class F>
Initialise by_channel(F f) {
  return [f](std::span<double> values, RandomStream&) {
    for (std::size_t c = 0; c < values.size(); ++c)
      values[c] = f(static_cast<double>(c));
  };
}

class Rwkv4 : public SequenceMixer {
 public:
  Rwkv4(const MixerContext& context, Options& options, ParameterDeclarer& d)
      : d_model_(context.d_model) {
    // Quirk Q21: the reference's schedule is that of 12 layers, however many there are.
    const Index layers = options.integer("n_layer", context.zoology ? 12 : context.n_layers, 1,
                                         1 << 16, "layers of the schedule of initial values");
    if (layers <= context.layer)
      options.reject("n_layer",
                     fmt::format("must be above this layer's number, {}", context.layer));
    declare_channels(d, context.layer, static_cast<double>(layers));
    // Quirk Q8: the reference's own start of a Linear does not reach these.
    const Initialise start =
        context.zoology ? torch_default(d_model_) : context.linear_weight(d_model_);
    key_ = d.weight("key.weight", {d_model_, d_model_}, start);
    value_ = d.weight("value.weight", {d_model_, d_model_}, start);
    receptance_ = d.weight("receptance.weight", {d_model_, d_model_}, start);
    output_ = d.weight("output.weight", {d_model_, d_model_},
                       context.zoology ? start : context.residual_weight(d_model_));
  }

  Tensor forward(Forward& f, const Tensor& x) const override {
    return finish(f, mix(f, x), shifted(f, x, mix_r_));
  }

  /// The average needs all tokens; its gate and the output projection need the labelled ones.
  Tensor forward_rows(Forward& f, const Tensor& x, Index labels) const override {
    return finish(f, gather_rows(f.graph(), mix(f, x), labels),
                  gather_rows(f.graph(), shifted(f, x, mix_r_), labels));
  }

  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index) const override {
    return make_rwkv4_decoder(d_model_, parameters);
  }
  std::optional<double> published_state_size(Index) const override { return std::nullopt; }
  /// 0.21 on the tiny MQAR: an average over all keys tells values apart only roughly.
  Traits traits() const override { return {true, true, 0.1, 0.5}; }

 private:
  void declare_channels(ParameterDeclarer& d, int layer, double layers) {
    const double width = static_cast<double>(d_model_), last = std::max(1.0, width - 1);
    const double depth =
        layers > 1 ? layer / (layers - 1) : 0;  // 0 at the first layer, 1 at the last
    const double height = 1 - layer / layers;
    decay_ = d.undecayed("time_decay", {d_model_}, by_channel([=](double c) {
                           return -5 + 8 * std::pow(c / last, 0.7 + 1.3 * depth);
                         }));
    first_ = d.undecayed("time_first", {d_model_}, by_channel([](double c) {
                           return std::log(0.3) + 0.5 * (std::fmod(c + 1, 3) - 1);
                         }));
    const auto declare_mix = [&](const std::string& name, double power, double offset) {
      return d.undecayed(name, {1, 1, d_model_},
                         by_channel([=](double c) { return std::pow(c / width, power) + offset; }));
    };
    mix_k_ = declare_mix("time_mix_k", height, 0);
    mix_v_ = declare_mix("time_mix_v", height, 0.3 * depth);
    mix_r_ = declare_mix("time_mix_r", height / 2, 0);
  }

  Tensor shifted(Forward& f, const Tensor& x, Parameter share) const {
    return token_shift(f.graph(), x, f.parameter(share), ShiftWeight::current)[0];
  }

  Tensor mix(Forward& f, const Tensor& x) const {
    const Tensor k = linear(f.graph(), shifted(f, x, mix_k_), f.parameter(key_));
    const Tensor v = linear(f.graph(), shifted(f, x, mix_v_), f.parameter(value_));
    return wkv(f.graph(), {k, v, f.parameter(decay_), f.parameter(first_)});
  }

  /// `xr` are the shifted tokens of the same rows as `average`.
  Tensor finish(Forward& f, const Tensor& average, const Tensor& xr) const {
    const Tensor r =
        activate(f.graph(), Activation::sigmoid, linear(f.graph(), xr, f.parameter(receptance_)));
    return linear(f.graph(), multiply(f.graph(), r, average), f.parameter(output_));
  }

  Index d_model_;
  Parameter decay_, first_, mix_k_, mix_v_, mix_r_, key_, value_, receptance_, output_;
};

}  // namespace

void register_rwkv4(MixerRegistry& registry) {
  registry.add(
      "rwkv4",
      {"RWKV-4 time mixing: each channel an average of the values so far, weighted by keys "
       "and fading (Peng et al. 2023).",
       [](const MixerContext& context, Options& options, ParameterDeclarer& d) {
         return std::make_unique<Rwkv4>(context, options, d);
       },
       {{"Q8", "the initialisation of the model does not reach the matrices of RWKV-4: U(±1/√d)",
         "N(0, 0.02²), the output scaled with the depth"},
        {"Q21", "RWKV-4's schedule of initial values is that of 12 layers",
         "of the layers there are"}}});
}

}  // namespace recallbench
