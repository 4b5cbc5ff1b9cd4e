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

}  // namespace
}  // namespace recallbench::testing
