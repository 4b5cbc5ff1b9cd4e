#include "mixers/state_mixer.h"

#include "kernels/base/names.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"
#include "mixers/host_math.h"

namespace recallbench {
namespace {

/// A Linear of the state mixer, under its name.
struct NamedLinear {
  std::string name;
  Parameter weight, bias;

  NamedLinear(const std::string& n, Index out, Index in, Initialise init, ParameterDeclarer& d)
      : name(n),
        weight(d.weight(n + ".weight", {out, in}, std::move(init))),
        bias(d.undecayed(n + ".bias", {out}, constant(0))) {}

  Tensor forward(Forward& f, const Tensor& x) const {
    return linear(f.graph(), x, f.parameter(weight), f.parameter(bias));
  }
  std::vector<double> step(const HostParameters& p, const std::vector<double>& x) const {
    return host_linear(x, p.at(name + ".weight"), p.at(name + ".bias"));
  }
};

class Mlp : public StateMixer {
 public:
  Mlp(Index width, const MixerContext& c, ParameterDeclarer& d)
      : fc1_("fc1", width, c.d_model, c.linear_weight(c.d_model), d),
        fc2_("fc2", c.d_model, width, c.residual_weight(width), d) {}

  Tensor forward(Forward& f, const Tensor& x) const override {
    return fc2_.forward(f, activate(f.graph(), Activation::gelu, fc1_.forward(f, x)));
  }
  std::vector<double> step(const HostParameters& p, const std::vector<double>& x) const override {
    std::vector<double> hidden = fc1_.step(p, x);
    for (double& v : hidden)
      v = host_gelu(v);
    return fc2_.step(p, hidden);
  }

 private:
  NamedLinear fc1_, fc2_;
};

class Glu : public StateMixer {
 public:
  Glu(Index width, const MixerContext& c, ParameterDeclarer& d)
      : fc1_("fc1", width, c.d_model, c.linear_weight(c.d_model), d),
        // Q6: the reference rescales the gate, not the output.
        fc2_("fc2", width, c.d_model,
             c.zoology ? c.residual_weight(c.d_model) : c.linear_weight(c.d_model), d),
        fc3_("fc3", c.d_model, width, c.zoology ? c.linear_weight(width) : c.residual_weight(width),
             d) {}

  Tensor forward(Forward& f, const Tensor& x) const override {
    const Tensor z = fc2_.forward(f, x);
    return fc3_.forward(f, gate(f.graph(), fc1_.forward(f, x), Activation::gelu, z));
  }
  std::vector<double> step(const HostParameters& p, const std::vector<double>& x) const override {
    std::vector<double> hidden = fc1_.step(p, x);
    const std::vector<double> gate = fc2_.step(p, x);
    for (std::size_t i = 0; i < hidden.size(); ++i)
      hidden[i] *= host_gelu(gate[i]);
    return fc3_.step(p, hidden);
  }

 private:
  NamedLinear fc1_, fc2_, fc3_;
};

}  // namespace

std::unique_ptr<StateMixer> make_state_mixer(const StateMixerConfig& config,
                                             const MixerContext& context,
                                             ParameterDeclarer& declarer) {
  const Index width = config.hidden_mult * context.d_model;
  if (config.type == "identity") return nullptr;
  if (config.type == "mlp") return std::make_unique<Mlp>(width, context, declarer);
  if (config.type == "glu") return std::make_unique<Glu>(width, context, declarer);
  fail(ErrorKind::usage, "state mixer", "there is no type '{}'{}", config.type,
       hint_for(config.type, {"identity", "mlp", "glu"}));
}

}  // namespace recallbench
