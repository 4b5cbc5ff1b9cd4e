// gated_conv has the bits of the operations that it fuses.
#include <gtest/gtest.h>

#include "kernels/causal_conv/causal_conv.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gated_conv/gated_conv.h"
#include "tests/support/run_case.h"

namespace recallbench::testing {
namespace {

TEST(GatedConv, HasTheBitsOfTheSeparateOperations) {
  for (const Index taps : {1, 3, 4, 9}) {
    OpCase fused;
    fused.inputs = {{9, 21, 24}, {9, 21, 24}, {24, taps}, {1, 24}};
    fused.build = [](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{gated_conv(g, t[0], t[1], t[2], t[3])};
    };
    OpCase separate = fused;
    separate.build = [](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{add(g, multiply(g, causal_conv(g, t[0], t[2], t[3]), t[1]), t[0])};
    };
    const auto inputs = case_inputs(fused, 5);
    for (const Index replicas : {1, 3}) {
      const CaseResult one = run_case<float>(fused, inputs, replicas, replicas - 1);
      const CaseResult other = run_case<float>(separate, inputs, replicas, replicas - 1);
      EXPECT_EQ(one.outputs, other.outputs) << taps << " taps";
      EXPECT_EQ(one.gradients, other.gradients) << taps << " taps";
    }
  }
}

}  // namespace
}  // namespace recallbench::testing
