// Steps that forget all between steps that forget next to nothing, at a large rate.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/run_case.h"

namespace recallbench::testing {
namespace {

// A decay to 0 is crossed by nothing, so that the gradient of its logarithm is 0, not what the
// rounding of a sum leaves of it: that, times rate Δ = 5e6, would be all that is seen of a_log.
TEST(Ssd, ADecayToNothingHasNoGradientOfItsRate) {
  const auto cases = all_op_cases();
  const auto c = std::find_if(cases.begin(), cases.end(), [](const OpCase& one) {
    return one.name == "ssd/B=2,L=40,H=3,P=4,G=1,N=5,scale=8";
  });
  ASSERT_NE(c, cases.end());
  std::vector<HostTensor> inputs = case_inputs(*c, 3);
  enum { kXbc, kDt, kDtBias, kALog };
  for (double& x : inputs[kXbc].data)
    x /= c->scale;
  for (Index i = 0; i < inputs[kDt].size(); ++i)
    inputs[kDt].data[static_cast<std::size_t>(i)] = i / 3 % 10 == 9 ? 30 : -15;
  std::fill(inputs[kDtBias].data.begin(), inputs[kDtBias].data.end(), 0.0);
  std::fill(inputs[kALog].data.begin(), inputs[kALog].data.end(), 12.0);
  const CaseResult exact = run_case<double>(*c, inputs), found = run_case<float>(*c, inputs);
  for (const int k : {kDt, kDtBias, kALog}) {
    const auto& from = exact.gradients[static_cast<std::size_t>(k)];
    const auto& to = found.gradients[static_cast<std::size_t>(k)];
    const double largest = std::abs(*std::max_element(
        from.begin(), from.end(), [](double a, double b) { return std::abs(a) < std::abs(b); }));
    for (std::size_t i = 0; i < from.size(); ++i)
      EXPECT_NEAR(to[i], from[i], 1e-4 * largest) << "input " << k << ", number " << i;
  }
}

}  // namespace
}  // namespace recallbench::testing
