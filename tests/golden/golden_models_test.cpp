// `recallbench forward` against the public implementation: every folder of tests/goldens/models.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/cuda/runtime.h"
#include "sweeps/check/golden_case.h"

namespace recallbench {
namespace {

const std::string kFolder = std::string(RECALLBENCH_SOURCE_DIR) + "/tests/goldens/models";

struct GoldenModelCase {
  std::string name;
  Device device;
};

void PrintTo(const GoldenModelCase& c, std::ostream* out) {
  *out << c.name << (c.device == Device::cuda ? " on a GPU" : "");
}

class GoldenModel : public ::testing::TestWithParam<GoldenModelCase> {};

TEST_P(GoldenModel, EqualsTheReference) {
  const auto& [name, device] = GetParam();
  if (device == Device::cuda && cuda_device_count() == 0) GTEST_SKIP() << "no GPU";
  const GoldenReport report = run_golden_case(kFolder, name, device);
  ASSERT_EQ(report.not_run, "");
  for (const GoldenComparison& c : report.comparisons) {
    fmt::print("{:28} {:36} {:.1e} of {:.1e}  {}\n", name, c.what, c.error, c.bound, c.detail);
    EXPECT_TRUE(c.passed()) << c.what << ": " << c.error << " over " << c.bound << " " << c.detail;
  }
  for (const char* what : {"logits", "loss", "gradients", "training trace", "state size"})
    EXPECT_EQ(std::count_if(report.comparisons.begin(), report.comparisons.end(),
                            [&](const GoldenComparison& c) { return c.what == what; }),
              1)
        << what;
  EXPECT_TRUE(report.passed());
}

std::vector<GoldenModelCase> cases_on(Device device) {
  std::vector<GoldenModelCase> cases;
  for (const std::string& name : golden_cases(kFolder))
    cases.push_back({name, device});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, GoldenModel, ::testing::ValuesIn(cases_on(Device::cpu)),
                         [](const auto& info) { return info.param.name; });
#ifdef RECALLBENCH_CUDA
INSTANTIATE_TEST_SUITE_P(Cuda, GoldenModel, ::testing::ValuesIn(cases_on(Device::cuda)),
                         [](const auto& info) { return info.param.name; });
#endif

}  // namespace
}  // namespace recallbench
