// cuda_set_numbers writes where the view is and nowhere else: rows that lie side by side and apart,
// in pieces of four numbers and one by one, more than one block has.
#include "kernels/cuda/set_numbers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace recallbench::testing {
namespace {

struct View {
  Index first, rows, cols, stride, replica_stride;
};

class CudaSetNumbers : public ::testing::TestWithParam<View> {};

TEST_P(CudaSetNumbers, WritesTheViewAndNothingElse) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU";
  constexpr Index kReplicas = 3;
  const View v = GetParam();
  std::vector<float> expected(static_cast<std::size_t>(v.first + kReplicas * v.replica_stride), 1);
  const std::size_t bytes = expected.size() * sizeof(float);
  const std::unique_ptr<std::byte, decltype(&cuda_free)> memory(cuda_allocate(bytes), &cuda_free);
  float* const data = reinterpret_cast<float*>(memory.get());
  cuda_copy_to_device(data, expected.data(), bytes);
  for (const float value : {2.5f, 0.0f}) {
    cuda_set_numbers(cuda_stream(),
                     {data + v.first, kReplicas, v.rows, v.cols, v.stride, v.replica_stride},
                     value);
    std::vector<float> found(expected.size());
    cuda_copy_to_host(found.data(), data, bytes);
    for (Index r = 0; r < kReplicas; ++r)
      for (Index i = 0; i < v.rows; ++i)
        std::fill_n(expected.begin() + v.first + r * v.replica_stride + i * v.stride, v.cols,
                    value);
    EXPECT_EQ(found, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaSetNumbers,
                         ::testing::Values(View{0, 1, 1, 1, 64}, View{0, 5, 7, 7, 64},
                                           View{4, 33, 12, 12, 512}, View{4, 33, 12, 20, 704},
                                           View{1, 33, 12, 20, 704}, View{0, 300, 64, 64, 19264},
                                           View{2, 300, 62, 64, 19264}, View{0, 0, 8, 8, 64}));

}  // namespace
}  // namespace recallbench::testing
