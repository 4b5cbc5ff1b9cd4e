// A kernel gets the shared memory that this GPU lets a block have, to the last byte; one that needs
// more is refused in words that help, before it is launched.
#include "kernels/cuda/shared_memory.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/cuda/runtime.h"
#include "mixers/nsa/sparse.h"
#include "tests/support/run_case.h"

namespace recallbench::testing {
namespace {

/// A query that chooses among `blocks`, whose scores, 4 bytes each, are in shared memory.
OpCase choice_among(Index blocks) {
  OpCase c;
  c.inputs = {{1, 1, 4}, {1, blocks, 4}};
  c.build = [](Graph& g, const std::vector<Tensor>& in) {
    return std::vector<Tensor>{choose_blocks(g, in[0], in[1], {.visible = Visible::blocks}, 1)};
  };
  return c;
}

std::vector<std::vector<double>> chosen(const OpCase& c, Device device) {
  return run_case<float>(c, case_inputs(c, 3), 1, 0, false, {device}).outputs;
}

TEST(CudaSharedMemory, AllThatABlockMayHaveAndNoMore) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU";
  const Index most = static_cast<Index>(cuda_shared_limit() / sizeof(float));
  const OpCase fits = choice_among(most), few = choice_among(3);
  EXPECT_EQ(chosen(fits, Device::cuda), chosen(fits, Device::cpu));
  try {
    chosen(choice_among(most + 1), Device::cuda);
    ADD_FAILURE() << "a block had more than " << cuda_shared_limit() << " bytes";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    const std::string text = error.what();
    const std::size_t limit = cuda_shared_limit() / 1024;
    for (const std::string& part :
         {std::string("[choose_blocks]"), fmt::format("needs {} KB", limit + 1),
          fmt::format("{} has {} KB", cuda_device_name(), limit), std::string("--device cpu")})
      EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
  }
  // The refusal leaves no error behind.
  EXPECT_EQ(chosen(few, Device::cuda), chosen(few, Device::cpu));
}

}  // namespace
}  // namespace recallbench::testing
