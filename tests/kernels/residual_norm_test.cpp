// On the CPU residual_norm is dropout, add and the norm recorded one after another, bit for bit.
#include "kernels/residual_norm/residual_norm.h"

#include <gtest/gtest.h>

#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/norm/norm.h"
#include "tests/support/run_case.h"

namespace recallbench::testing {
namespace {

ResidualNorm apart(Graph& g, const Tensor& r, const Tensor& h, double p, const Tensor& weight,
                   const std::optional<Tensor>& bias) {
  const Tensor stream = add(g, r, dropout(g, h, p));
  return {stream, bias ? layer_norm(g, stream, weight, *bias) : rms_norm(g, stream, weight)};
}

/// r and h are read again afterwards where `again`, so that their gradients add up and their
/// memory cannot be that of the outputs.
OpCase make_case(bool fused, double p, bool centred, bool again) {
  OpCase c;
  c.inputs = {{70, 33}, {70, 33}, {1, 33}};
  if (centred) c.inputs.push_back({1, 33});
  c.build = [=](Graph& g, const std::vector<Tensor>& t) {
    const Tensor r = activate(g, Activation::silu, t[0]), h = activate(g, Activation::silu, t[1]);
    const std::optional<Tensor> bias = centred ? std::optional<Tensor>(t[3]) : std::nullopt;
    const ResidualNorm out =
        fused ? residual_norm(g, r, h, p, t[2], bias) : apart(g, r, h, p, t[2], bias);
    std::vector<Tensor> outputs{multiply(g, out.stream, out.stream), out.normalised};
    if (again) outputs.push_back(multiply(g, r, h));
    return outputs;
  };
  return c;
}

template <class T>
void expect_same_bits(double p, bool centred, bool again) {
  SCOPED_TRACE(fmt::format("p = {}, centred = {}, again = {}", p, centred, again));
  const OpCase fused = make_case(true, p, centred, again);
  const OpCase separate = make_case(false, p, centred, again);
  const auto inputs = case_inputs(fused, 9);
  for (const Index replica : {0, 1}) {
    const CaseResult a = run_case<T>(fused, inputs, 2, replica);
    const CaseResult b = run_case<T>(separate, inputs, 2, replica);
    EXPECT_EQ(a.outputs, b.outputs);
    EXPECT_EQ(a.gradients, b.gradients);
  }
}

TEST(ResidualNorm, HasTheBitsOfItsParts) {
  set_memory_poisoning(true);
  for (const double p : {0.0, 0.1}) {
    for (const bool centred : {true, false}) {
      for (const bool again : {true, false}) {
        expect_same_bits<float>(p, centred, again);
        expect_same_bits<double>(p, centred, again);
      }
    }
  }
  set_memory_poisoning(false);
}

}  // namespace
}  // namespace recallbench::testing
