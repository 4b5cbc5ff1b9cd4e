#include <algorithm>
#include <cmath>

#include "kernels/delta_rule/delta_rule.h"
#include "kernels/delta_rule/reference.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/reference.h"
#include "kernels/l2_norm/l2_norm.h"
#include "kernels/l2_norm/reference.h"
#include "kernels/log_decay/log_decay.h"

namespace recallbench {
namespace {

enum class Kind {
  plain,    ///< neither strengths nor decays
  ungated,  ///< strengths
  gated,    ///< both
};

struct Size {
  Index examples, length, heads, keys, values;  ///< keys and values of one head
  double scale = 1;                             ///< of the inputs: large ones decay to 0
  Kind kind = Kind::gated;
  bool timed = false;
};

HostTensor applied(Activation f, HostTensor x) {
  for (double& number : x.data)
    number = activation_reference(f, number);
  return x;
}

/// g = -exp(a_log) softplus(x), as log_decay gives it.
HostTensor decays(const HostTensor& x, const HostTensor& a_log) {
  HostTensor g = applied(Activation::softplus, x);
  for (std::size_t i = 0; i < g.data.size(); ++i)
    g.data[i] *= -std::exp(a_log.data[i % a_log.data.size()]);
  return g;
}

/// Short keys, strengths below 2 and decays below 1, as mixers have them: with others the state
/// grows without bound.
OpCase make_case(const Size& s) {
  const DeltaRuleOptions options{s.heads, 0.7, s.kind == Kind::plain ? 1.0 : 1.5};
  const double eps = 0.5;
  OpCase c;
  c.name = fmt::format("delta_rule/{},B={},L={},H={},dk={},dv={},scale={}",
                       s.kind == Kind::plain     ? "plain"
                       : s.kind == Kind::ungated ? "ungated"
                                                 : "gated",
                       s.examples, s.length, s.heads, s.keys, s.values, s.scale);
  const std::vector<Index> keys = {s.examples, s.length, s.heads * s.keys};
  const std::vector<Index> scalars = {s.examples, s.length, s.heads};
  c.inputs = {keys, keys, {s.examples, s.length, s.heads * s.values}};
  if (s.kind != Kind::plain) c.inputs.push_back(scalars);
  if (s.kind == Kind::gated) c.inputs.insert(c.inputs.end(), {scalars, {1, s.heads}});
  c.scale = s.scale;
  c.build = [=](Graph& g, const std::vector<Tensor>& t) {
    DeltaRuleInputs in{t[0], l2_norm(g, t[1], s.heads, eps), t[2], {}, {}};
    if (s.kind != Kind::plain) in.beta = activate(g, Activation::sigmoid, t[3]);
    if (s.kind == Kind::gated)
      in.log_decay = log_decay(g, activate(g, Activation::softplus, t[4]), t[5]);
    return std::vector<Tensor>{delta_rule(g, in, options)};
  };
  c.reference = [=](const std::vector<HostTensor>& t, const HostBatch&) {
    std::vector<HostTensor> in = {t[0], l2_norm_reference(t[1], s.heads, eps), t[2], {}, {}};
    if (s.kind != Kind::plain) in[3] = applied(Activation::sigmoid, t[3]);
    if (s.kind == Kind::gated) in[4] = decays(t[4], t[5]);
    return std::vector<HostTensor>{delta_rule_reference(in, options)};
  };
  c.tested = !s.timed;
  // What of a value is read, written and read again: three products with the state a token.
  if (s.timed)
    c.flops = 6.0 * static_cast<double>(s.examples * s.length * s.heads * s.keys * s.values);
  return c;
}

/// Queries, keys and values side by side in the columns of one tensor.
OpCase sliced_case(Index length) {
  const DeltaRuleOptions options{2, 1, 0.25};
  OpCase c;
  c.name = fmt::format("delta_rule/slices,B=2,L={}", length);
  c.inputs = {{2, length, 14}};
  c.scale = 0.5;
  c.build = [options](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{delta_rule(
        g, {t[0].columns(0, 4), t[0].columns(4, 4), t[0].columns(8, 6), {}, {}}, options)};
  };
  c.reference = [=](const std::vector<HostTensor>& t, const HostBatch&) {
    std::vector<HostTensor> parts{
        {{2, length, 4}, {}}, {{2, length, 4}, {}}, {{2, length, 6}, {}}, {}, {}};
    for (std::size_t i = 0; i < t[0].data.size(); ++i)
      parts[i % 14 < 4 ? 0 : i % 14 < 8 ? 1 : 2].data.push_back(t[0].data[i]);
    return std::vector<HostTensor>{delta_rule_reference(parts, options)};
  };
  return c;
}

}  // namespace

void append_delta_rule_cases(std::vector<OpCase>& cases) {
  for (const Kind kind : {Kind::plain, Kind::ungated, Kind::gated}) {
    for (const Size& s :
         {Size{1, 1, 1, 1, 1}, Size{2, 7, 3, 2, 5}, Size{1, 20, 2, 3, 4},
          Size{3, 33, 2, 5, 3},  // one token beyond a chunk
          Size{1, 130, 1, 17, 20}, Size{2, 100, 1, 4, 6, 4}, Size{1, 66, 2, 18, 70},
          Size{1, 70, 2, 32, 64}, Size{2, 70, 2, 32, 32}, Size{1, 40, 1, 144, 36},
          Size{1, 70, 2, 64, 80}, Size{2, 66, 1, 128, 128}, Size{1, 97, 1, 116, 130}}) {
      Size of_kind = s;
      of_kind.kind = kind;
      cases.push_back(make_case(of_kind));
    }
  }
  for (const Index length : {9, 70})
    cases.push_back(sliced_case(length));
  for (const Index length : {64, 256, 1024, 4096, 8192})
    for (const Index width : {32, 64})
      cases.push_back(make_case(
          {std::max<Index>(1, 16384 / length), length, 2, width, width, 1, Kind::gated, true}));
}

}  // namespace recallbench
