// Activations on the GPU, number by number.
#include <gtest/gtest.h>

#include "kernels/cuda/runtime.h"
#include "tests/support/activations.h"

namespace recallbench::testing {
namespace {

class CudaActivations : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU";
  }
};

TEST_F(CudaActivations, SoftplusIsExactWhereItIsSmall) {
  EXPECT_LE(error_of_small_softplus<float>({Device::cuda}), 1e-6);
}

TEST_F(CudaActivations, KeepNaN) {
  for (const Activation f : all_activations())
    EXPECT_TRUE(keeps_nan<float>(f, {Device::cuda})) << static_cast<int>(f);
}

}  // namespace
}  // namespace recallbench::testing
