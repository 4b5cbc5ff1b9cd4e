// Every case of every operation: value, gradient, one tensor as two inputs, replicas, threads,
// poisoned memory.
#include <gtest/gtest.h>

#include "kernels/tensor/parallel.h"
#include "tests/support/run_case.h"
#include "tests/support/shared_inputs.h"

namespace recallbench {

void PrintTo(const OpCase& c, std::ostream* out) {
  *out << c.name;
}

namespace testing {
namespace {

class OpCases : public ::testing::TestWithParam<OpCase> {
 protected:
  void SetUp() override { set_memory_poisoning(true); }
  void TearDown() override {
    set_memory_poisoning(false);
    set_threads(1);
  }
};

void expect_close(double error, double bound, const std::string& what) {
  if (!(error <= bound)) ADD_FAILURE() << what << ": error " << error << " over bound " << bound;
}

TEST_P(OpCases, EqualsTheReference) {
  const OpCase& c = GetParam();
  const auto inputs = case_inputs(c, 1);
  const auto expected = c.reference(inputs, c.batch);
  const CaseResult in_double = run_case<double>(c, inputs);
  const CaseResult in_float = run_case<float>(c, inputs);
  ASSERT_EQ(expected.size(), in_double.outputs.size());
  for (std::size_t k = 0; k < expected.size(); ++k) {
    expect_close(relative_error(in_double.outputs[k], expected[k].data), 1e-11, "double");
    expect_close(relative_error(in_float.outputs[k], expected[k].data), c.float_bound, "float");
  }
}

// The derivative of the weighted sum along fixed random directions, one an input.
TEST_P(OpCases, GradientEqualsCentralDifferences) {
  const OpCase& c = GetParam();
  if (!c.smooth) GTEST_SKIP() << "not smooth at these inputs";
  const auto inputs = case_inputs(c, 2);
  const CaseResult result = run_case<double>(c, inputs);
  // Differences are taken element by element, so that large sums do not hide small ones.
  const auto difference = [&](const CaseResult& plus, const CaseResult& minus) {
    double sum = 0;
    for (std::size_t k = 0; k < plus.outputs.size(); ++k)
      for (std::size_t i = 0; i < plus.outputs[k].size(); ++i)
        sum += (c.loss ? 1 : output_weight(static_cast<int>(k), static_cast<Index>(i))) *
               (plus.outputs[k][i] - minus.outputs[k][i]);
    return sum;
  };
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    for (int direction = 0; direction < 3; ++direction) {
      const auto along =
          normal_numbers(inputs[k].size(), 100 + static_cast<std::uint64_t>(direction), 1.0);
      const double h = 1e-5;
      double analytic = 0, norm = 0;
      auto plus = inputs, minus = inputs;
      for (std::size_t i = 0; i < along.size(); ++i) {
        plus[k].data[i] += h * along[i];
        minus[k].data[i] -= h * along[i];
        analytic += result.gradients[k][i] * along[i];
        norm += std::abs(result.gradients[k][i] * along[i]);
      }
      const double numeric =
          difference(run_case<double>(c, plus), run_case<double>(c, minus)) / (2 * h);
      expect_close(std::abs(analytic - numeric) / std::max(norm, 1e-3), 1e-6,
                   fmt::format("gradient of input {}", k));
    }
  }
}

TEST_P(OpCases, FloatGradientIsThatOfDouble) {
  const OpCase& c = GetParam();
  const auto inputs = case_inputs(c, 3);
  const CaseResult in_double = run_case<double>(c, inputs);
  const CaseResult in_float = run_case<float>(c, inputs);
  for (std::size_t k = 0; k < inputs.size(); ++k)
    expect_close(relative_error(in_float.gradients[k], in_double.gradients[k],
                                0.01 * in_double.gradient_scale()),
                 10 * c.float_bound, fmt::format("gradient of input {}", k));
}

TEST_P(OpCases, OneTensorAsTwoInputsHasTheSumOfTheirGradients) {
  const OpCase& c = GetParam();
  for (const auto& inputs : inputs_of_one_shape(c)) {
    const std::string what = fmt::format("inputs {} and {}", inputs.first, inputs.second);
    expect_close(error_where_inputs_are_one<double>(c, inputs), 1e-12, "double, " + what);
    expect_close(error_where_inputs_are_one<float>(c, inputs), 1e-5, "float, " + what);
  }
}

TEST_P(OpCases, SameBitsInAPopulationAndOnThreeThreads) {
  const OpCase& c = GetParam();
  const auto inputs = case_inputs(c, 4);
  const CaseResult alone = run_case<float>(c, inputs);
  set_threads(3);
  for (const Index replicas : {1, 3}) {
    for (Index replica = 0; replica < replicas; ++replica) {
      const CaseResult other = run_case<float>(c, inputs, replicas, replica);
      EXPECT_EQ(alone.outputs, other.outputs) << replica << " of " << replicas;
      EXPECT_EQ(alone.gradients, other.gradients) << replica << " of " << replicas;
    }
  }
}

std::vector<OpCase> tested_cases() {
  std::vector<OpCase> cases;
  for (OpCase& c : all_op_cases())
    if (c.tested) cases.push_back(std::move(c));
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, OpCases, ::testing::ValuesIn(tested_cases()), [](const auto& info) {
  std::string name = info.param.name;
  for (char& ch : name)
    if (!std::isalnum(static_cast<unsigned char>(ch))) ch = '_';
  return fmt::format("{}_{}", name, info.index);
});

}  // namespace
}  // namespace testing
}  // namespace recallbench
