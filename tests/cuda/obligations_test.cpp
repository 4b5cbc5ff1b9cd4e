// Obligation 4 of every registered mixer: the GPU equals the CPU, gradients too.
#include <gtest/gtest.h>

#include "kernels/cuda/runtime.h"
#include "mixers/obligations/obligations.h"

namespace recallbench {
namespace {

class CudaMixers : public ::testing::TestWithParam<std::string> {};

TEST_P(CudaMixers, EqualTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU";
  const MixerEntry& entry = mixer_registry().find(GetParam());
  for (const Index d_model : {16, 12}) {
    const auto all = check_obligations(GetParam(), entry, {},
                                       {1, 2, d_model, false, entry.block == "transformer"});
    for (const Obligation& o : all) {
      if (o.number == 4 && o.status == Obligation::Status::not_applicable) GTEST_SKIP() << o.detail;
      EXPECT_FALSE(o.number == 4 && o.failed())
          << o.measured << " of " << o.bound << ": " << o.detail;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaMixers, ::testing::ValuesIn(mixer_registry().names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace recallbench
