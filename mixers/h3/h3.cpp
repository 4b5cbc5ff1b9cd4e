#include "mixers/h3/h3.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/gather_rows/gather_rows.h"
#include "kernels/long_conv/long_conv.h"
#include "kernels/matmul/matmul.h"
#include "mixers/h3/filters.h"
#include "mixers/h3/heads.h"
#include "mixers/initialise.h"
#include "mixers/registry.h"

namespace recallbench {
namespace {

H3Sizes read_options(const MixerContext& context, Options& o) {
  H3Sizes s{};
  s.d_model = context.d_model;
  s.states = o.integer("d_state", 64, 2, 8192, "states of each SSM, N, an even number");
  if (s.states % 2 != 0) o.reject("d_state", "must be even: half as many complex modes");
  s.head_dim = o.integer("head_dim", 1, 1, 1 << 20, "channels of a head");
  if (s.d_model % s.head_dim != 0)
    o.reject("head_dim", fmt::format("must divide d_model = {}", s.d_model));
  s.l_max = o.length("l_max", 0, 8192, "longest sequence; 0: any");
  return s;
}

/// (1, 0), (1, 0), ...: complex ones, or the first unit vector of rows of `period`.
Initialise one_in(Index period) {
  return [period](std::span<double> values, RandomStream&) {
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<Index>(i) % period == 0 ? 1 : 0;
  };
}

/// π n for n = 0, 1, ... in every row of `modes`.
Initialise multiples_of_pi(Index modes) {
  return [modes](std::span<double> values, RandomStream&) {
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = std::numbers::pi * static_cast<double>(static_cast<Index>(i) % modes);
  };
}

/// ln of numbers log-uniform in [0.001, 0.1].
Initialise log_step_sizes() {
  return [](std::span<double> values, RandomStream& random) {
    uniform(1)(values, random);
    for (double& v : values)
      v = std::log(0.01) + std::log(10.0) * v;
  };
}

class H3 : public SequenceMixer {
 public:
  H3(const MixerContext& context, const H3Sizes& sizes, ParameterDeclarer& d) : size_(sizes) {
    const Index width = size_.d_model, heads = size_.heads(), modes = size_.modes();
    const auto projection = [&](const std::string& name, const Initialise& start) {
      return Projection{d.weight(name + ".weight", {width, width}, start),
                        d.undecayed(name + ".bias", {width}, constant(0))};
    };
    const Initialise start = context.linear_weight(width);
    q_ = projection("q_proj", start);
    k_ = projection("k_proj", start);
    v_ = projection("v_proj", start);
    out_ = projection("output_linear", context.unrecognised_residual_weight(width));  // Q5
    const Index n = size_.states;
    shift_b_ = d.weight("ssm_k_kernel.kernel.B", {width, n}, one_in(n));
    shift_c_ = d.weight("ssm_k_kernel.kernel.C", {1, width, n}, torch_default(n));
    shift_d_ = d.undecayed("ssm_k_D", {width}, normal(1));
    c_ = d.weight("kernel.kernel.C", {1, heads, modes, 2}, normal(std::sqrt(0.5)));
    b_ = d.weight("kernel.kernel.B", {heads, modes, 2}, one_in(2));
    log_decay_ = d.undecayed("kernel.kernel.inv_A_real", {heads, modes}, constant(std::log(0.5)));
    frequency_ = d.undecayed("kernel.kernel.A_imag", {heads, modes}, multiples_of_pi(modes));
    log_dt_ = d.undecayed("kernel.kernel.log_dt", {heads}, log_step_sizes());
    d_ = d.undecayed("D", {heads}, normal(1));
  }

  Tensor forward(Forward& f, const Tensor& u) const override {
    return read_and_project(f, project(f, u, q_), products(f, u));
  }

  /// The products are remembered of all tokens; only the labelled ones read them.
  Tensor forward_rows(Forward& f, const Tensor& u, Index labels) const override {
    const Tensor rows = gather_rows(f.graph(), u, labels);  // first: backward then adds few rows
    const Tensor remembered = gather_rows(f.graph(), products(f, u), labels);
    return read_and_project(f, project(f, rows, q_), remembered);
  }

  std::unique_ptr<Decoder> decoder(const HostParameters& parameters, Index length) const override {
    return make_h3_decoder(size_, parameters, length);
  }
  /// d N (zoology h3.py: state_size): the shift register alone.
  std::optional<double> published_state_size(Index) const override {
    return 4.0 * static_cast<double>(size_.d_model * size_.states);
  }
  /// It hardly learns: 0.20 on the tiny MQAR, 0.11 with six states in heads of four channels.
  Traits traits() const override { return {true, true, 0.06, 1.0}; }

 private:
  struct Projection {
    Parameter weight, bias;
  };

  static Tensor project(Forward& f, const Tensor& x, const Projection& p) {
    return linear(f.graph(), x, f.parameter(p.weight), f.parameter(p.bias));
  }

  /// DiagonalSSM(ShiftSSM(k) vᵀ), [R, B, L, F F H] as head_outer lays them out.
  Tensor products(Forward& f, const Tensor& u) const {
    Graph& g = f.graph();
    const Index length = u.shape[2];
    check_length("h3", "l_max", size_.l_max, length);
    const Tensor shift = shift_ssm_filter(g, f.parameter(shift_b_), f.parameter(shift_c_),
                                          f.parameter(shift_d_), std::min(length, size_.states));
    const Tensor k = long_conv(g, project(f, u, k_), shift);
    const Tensor p = head_outer(g, k, project(f, u, v_), size_.head_dim);
    const Tensor filter =
        diagonal_ssm_filter(g,
                            {f.parameter(c_), f.parameter(b_), f.parameter(log_decay_),
                             f.parameter(frequency_), f.parameter(log_dt_), f.parameter(d_)},
                            length, size_.head_dim * size_.head_dim);
    return long_conv(g, p, filter);
  }

  Tensor read_and_project(Forward& f, const Tensor& q, const Tensor& p) const {
    return project(f, head_inner(f.graph(), q, p, size_.head_dim), out_);
  }

  H3Sizes size_;
  Projection q_, k_, v_, out_;
  Parameter shift_b_, shift_c_, shift_d_, c_, b_, log_decay_, frequency_, log_dt_, d_;
};

}  // namespace

void register_h3(MixerRegistry& registry) {
  registry.add("h3",
               {"A shift and a diagonal state-space model between query, key and value (Fu et al. "
                "2023).",
                [](const MixerContext& context, Options& options, ParameterDeclarer& d) {
                  return std::make_unique<H3>(context, read_options(context, options), d);
                },
                {deviations::kOutputStartsUnscaled,
                 {"Q19", "H3's output channels run over the heads first, its inputs' within a head",
                  "the same: an order of columns"}}});
}

}  // namespace recallbench
