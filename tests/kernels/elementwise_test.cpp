// Activations number by number: what a comparison with the largest of a row would not see.
#include "kernels/elementwise/elementwise.h"

#include <gtest/gtest.h>

#include "tests/support/activations.h"

namespace recallbench::testing {
namespace {

TEST(Activations, SoftplusIsExactWhereItIsSmall) {
  EXPECT_LE(error_of_small_softplus<double>({}), 1e-14);
  EXPECT_LE(error_of_small_softplus<float>({}), 1e-6);
}

TEST(Activations, KeepNaN) {
  for (const Activation f : all_activations()) {
    EXPECT_TRUE(keeps_nan<float>(f, {})) << static_cast<int>(f);
    EXPECT_TRUE(keeps_nan<double>(f, {})) << static_cast<int>(f);
  }
}

}  // namespace
}  // namespace recallbench::testing
