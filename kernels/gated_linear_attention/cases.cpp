#include <cmath>

#include "kernels/gated_linear_attention/gated_linear_attention.h"
#include "kernels/gated_linear_attention/reference.h"
#include "kernels/sigmoid_decay/reference.h"
#include "kernels/sigmoid_decay/sigmoid_decay.h"

namespace recallbench {
namespace {

/// Keys and values of one head; `divisor` of the decays' logarithms, 0 for constant decays.
struct Sizes {
  Index examples, length, heads, state_heads, keys, values;
  double divisor;
  bool as_sum = false;
};

GatedLinearAttentionOptions options_of(const Sizes& s) {
  GatedLinearAttentionOptions options{
      .heads = s.heads, .state_heads = s.state_heads, .scale = 0.7, .constant_decays = {}};
  for (Index h = 0; s.divisor == 0 && h < s.state_heads; ++h)
    options.constant_decays.push_back(1 - std::exp2(-1.0 - 3.0 * static_cast<double>(h)));
  return options;
}

OpCase make_case(const Sizes& s, bool timed) {
  const GatedLinearAttentionOptions options = options_of(s);
  const bool constant = s.divisor == 0;
  const SigmoidDecayOptions gate{.divisor = s.divisor};
  OpCase c;
  c.name = fmt::format("gated_linear_attention/B={},L={},H={},N={},K={},V={},{}", s.examples,
                       s.length, s.heads, s.state_heads, s.keys, s.values,
                       constant ? "constant" : fmt::format("divisor={}", s.divisor));
  c.inputs = {{s.examples, s.length, s.heads * s.keys},
              {s.examples, s.length, s.state_heads * s.keys},
              {s.examples, s.length, s.state_heads * s.values}};
  if (!constant) c.inputs.push_back(c.inputs[1]);
  c.build = [=](Graph& g, const std::vector<Tensor>& t) {
    GatedLinearAttentionInputs in{t[0], t[1], t[2]};
    if (!constant) in.log_decay = sigmoid_decay(g, t[3], gate);
    return std::vector<Tensor>{gated_linear_attention(g, in, options)};
  };
  c.reference = [=](std::vector<HostTensor> t, const HostBatch&) {
    if (!constant)
      for (double& x : t[3].data)
        x = sigmoid_decay_reference(x, gate);
    return s.as_sum ? gated_linear_attention_sum_reference(t, options)
                    : gated_linear_attention_reference(t, options);
  };
  c.tested = !timed;
  // A token moves each number of each state on, and each query reads its state.
  if (timed)
    c.flops = static_cast<double>(s.examples * s.length * s.keys * s.values) *
              static_cast<double>(3 * s.state_heads + 2 * s.heads);
  return c;
}

/// Queries, keys, values and gates side by side in the columns of one tensor.
OpCase sliced_case() {
  const GatedLinearAttentionOptions options{
      .heads = 2, .state_heads = 2, .scale = 1.0, .constant_decays = {}};
  OpCase c;
  c.name = "gated_linear_attention/B=2,L=19,H=2,K=2,V=3,slices";
  c.inputs = {{2, 19, 18}};
  c.build = [options](Graph& g, const std::vector<Tensor>& t) {
    const Tensor gates = sigmoid_decay(g, t[0].columns(14, 4), {});
    return std::vector<Tensor>{gated_linear_attention(
        g, {t[0].columns(0, 4), t[0].columns(4, 4), t[0].columns(8, 6), gates}, options)};
  };
  c.reference = [options](const std::vector<HostTensor>& t, const HostBatch&) {
    std::vector<HostTensor> parts{
        {{2, 19, 4}, {}}, {{2, 19, 4}, {}}, {{2, 19, 6}, {}}, {{2, 19, 4}, {}}};
    for (std::size_t i = 0; i < t[0].data.size(); ++i) {
      const std::size_t column = i % 18;
      const double x = t[0].data[i];
      parts[column < 4    ? 0
            : column < 8  ? 1
            : column < 14 ? 2
                          : 3]
          .data.push_back(column < 14 ? x : sigmoid_decay_reference(x, {}));
    }
    return gated_linear_attention_reference(parts, options);
  };
  return c;
}

}  // namespace

void append_gated_linear_attention_cases(std::vector<OpCase>& cases) {
  for (const Sizes& s : {
           Sizes{1, 1, 1, 1, 1, 1, 16},
           Sizes{2, 7, 3, 3, 2, 5, 1},
           Sizes{3, 17, 4, 2, 5, 3, 16, true},    // one token beyond a chunk, shared states
           Sizes{2, 100, 2, 2, 20, 17, 16},       // more keys than a vector
           Sizes{1, 65, 1, 1, 3, 4, 0.02, true},  // decays that underflow within a chunk
           Sizes{1, 64, 6, 2, 8, 4, 4},
           Sizes{2, 20, 2, 1, 18, 70, 4},
           Sizes{1, 40, 2, 2, 32, 64, 16},   // rows that are whole vectors
           Sizes{1, 50, 2, 1, 40, 36, 4},    // more keys than a warp has lanes
           Sizes{1, 35, 2, 1, 132, 40, 16},  // long keys
           Sizes{1, 1, 1, 1, 1, 1, 0},
           Sizes{2, 65, 2, 2, 5, 3, 0, true},  // one token beyond a chunk
           Sizes{1, 150, 4, 2, 17, 20, 0},
           Sizes{1, 33, 1, 1, 48, 20, 0},
       })
    cases.push_back(make_case(s, false));
  for (const double divisor : {16.0, 0.0})
    for (const Index length : {64, 256, 1024, 4096, 8192})
      cases.push_back(make_case({64 * 256 / length, length, 2, 2, 32, 64, divisor}, true));
  cases.push_back(sliced_case());
}

}  // namespace recallbench
