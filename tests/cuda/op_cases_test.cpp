// Every case of every operation on the GPU: against the CPU in double, in memory filled with NaN,
// with one tensor as two inputs, alone and in a population, twice. Skipped, visibly, where there is
// no GPU.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/cuda/runtime.h"
#include "tests/support/run_case.h"
#include "tests/support/shared_inputs.h"

namespace recallbench {

void PrintTo(const OpCase& c, std::ostream* out) {
  *out << c.name;
}

namespace testing {
namespace {

class CudaOpCases : public ::testing::TestWithParam<OpCase> {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU";
    try {
      PreparedCase<float>(GetParam(), case_inputs(GetParam(), 3), true, 1, {Device::cuda});
    } catch (const NoCudaCode& error) {
      GTEST_SKIP() << error.what();
    }
    set_memory_poisoning(true);
  }
  void TearDown() override { set_memory_poisoning(false); }
};

/// Outputs within `bound`, gradients within ten times that (as on the CPU), of the CPU in double,
/// where a gradient next to zero is seen at `share` of the case's gradient_scale().
void expect_close_to_cpu(const OpCase& c, Precision precision, double bound, double share) {
  const auto inputs = case_inputs(c, 3);
  const CaseResult expected = run_case<double>(c, inputs);
  const CaseResult found = run_case<float>(c, inputs, 1, 0, true, {Device::cuda, precision});
  for (std::size_t k = 0; k < expected.outputs.size(); ++k) {
    const double error = relative_error(found.outputs[k], expected.outputs[k]);
    if (!(error <= bound))
      ADD_FAILURE() << "output " << k << ": error " << error << " over bound " << bound;
  }
  const double scale = share * expected.gradient_scale();
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const double error = relative_error(found.gradients[k], expected.gradients[k], scale);
    if (!(error <= 10 * bound))
      ADD_FAILURE() << "gradient of input " << k << ": error " << error << " over bound "
                    << 10 * bound;
  }
}

TEST_P(CudaOpCases, EqualsTheCpu) {
  expect_close_to_cpu(GetParam(), Precision::fp32, GetParam().float_bound, 0.01);
}

// Inputs of products keep 11 (tf32) and 8 (bf16) bits.
TEST_P(CudaOpCases, RoundedProductsStayClose) {
  expect_close_to_cpu(GetParam(), Precision::tf32, 100 * GetParam().float_bound, 0.1);
  expect_close_to_cpu(GetParam(), Precision::bf16, 800 * GetParam().float_bound, 0.1);
}

TEST_P(CudaOpCases, OneTensorAsTwoInputsHasTheSumOfTheirGradients) {
  const OpCase& c = GetParam();
  for (const auto& inputs : inputs_of_one_shape(c)) {
    const double error = error_where_inputs_are_one<float>(c, inputs, {Device::cuda});
    if (!(error <= 1e-5))
      ADD_FAILURE() << "inputs " << inputs.first << " and " << inputs.second << ": error " << error;
  }
}

TEST_P(CudaOpCases, SameBitsAgainAndInAPopulation) {
  const OpCase& c = GetParam();
  const auto inputs = case_inputs(c, 4);
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    const Placement placement{Device::cuda, precision};
    const CaseResult alone = run_case<float>(c, inputs, 1, 0, true, placement);
    for (const Index replicas : {1, 3}) {
      for (Index replica = 0; replica < replicas; ++replica) {
        const CaseResult other = run_case<float>(c, inputs, replicas, replica, true, placement);
        EXPECT_EQ(alone.outputs, other.outputs) << replica << " of " << replicas;
        EXPECT_EQ(alone.gradients, other.gradients) << replica << " of " << replicas;
      }
    }
  }
}

std::vector<OpCase> tested_cases() {
  std::vector<OpCase> cases;
  for (OpCase& c : all_op_cases())
    if (c.tested) cases.push_back(std::move(c));
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, CudaOpCases, ::testing::ValuesIn(tested_cases()),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           for (char& ch : name)
                             if (!std::isalnum(static_cast<unsigned char>(ch))) ch = '_';
                           return fmt::format("{}_{}", name, info.index);
                         });

}  // namespace
}  // namespace testing
}  // namespace recallbench
