// The (example, head) items of an operation: which lanes they get, what of a tensor is theirs, and
// how the gradient of one is written.
#include "kernels/tensor/head_items.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace recallbench {
namespace {

TEST(HeadItems, EachItemRunsOnceWithinTheScratch) {
  const HeadItems items{25, 3, 10};
  std::vector<float> scratch(static_cast<std::size_t>(items.scratch()));
  std::vector<const float*> own(75, nullptr);
  items.run(scratch.data(), [&](const HeadItem& at, float* lane) {
    EXPECT_EQ(own[static_cast<std::size_t>(at.index())], nullptr);
    own[static_cast<std::size_t>(at.index())] = lane;
  });
  const std::set<const float*> lanes(own.begin(), own.end());
  EXPECT_EQ(static_cast<Index>(lanes.size()), HeadItems::kLanes);
  for (const float* lane : lanes) {
    ASSERT_NE(lane, nullptr);
    EXPECT_EQ((lane - scratch.data()) * static_cast<Index>(sizeof(float)) %
                  static_cast<Index>(kAlignment),
              0);
    EXPECT_LE(lane + items.numbers, scratch.data() + scratch.size());
  }
}

TEST(HeadItems, LanesFollowItemsAndScratch) {
  EXPECT_EQ((HeadItems{2, 3, 10}.lanes()), 6);
  EXPECT_EQ((HeadItems{20, 3, HeadItems::kMostScratch / 4}.lanes()), 4);
  EXPECT_EQ((HeadItems{20, 3, 2 * HeadItems::kMostScratch}.lanes()), 1);
}

TEST(HeadItems, AnItemHasTheRowsOfItsExampleAndTheColumnsOfItsHead) {
  float numbers[6 * 10] = {};
  const Matrix<float> all{numbers, 6, 8, 10};
  const HeadItem at{2, 1, 3, 2};
  const Matrix<float> mine = at.of(all);
  EXPECT_EQ(mine.data, numbers + 4 * 10 + 4);
  EXPECT_EQ(mine.rows, 2);
  EXPECT_EQ(mine.cols, 4);
  EXPECT_EQ(mine.stride, 10);
  EXPECT_EQ(at.of(Matrix<float>{}).data, nullptr);
  const Gradient<float> unwanted{{numbers, 1, 6, 8, 10, 60}, false, true};
  EXPECT_FALSE(at.of(unwanted, 0).wanted());
}

TEST(MatrixGradient, OverwritesOrAdds) {
  float numbers[4] = {1, 2, 3, 4}, values[2] = {10, 20};
  for (const bool accumulate : {false, true}) {
    float to[4] = {1, 2, 3, 4};
    const MatrixGradient<float> gradient{{to, 2, 2, 2}, accumulate};
    gradient.write_rows(1, {values, 1, 2, 2});
    gradient.write(0, 1, 5);
    EXPECT_EQ(to[0], 1);
    EXPECT_EQ(to[1], accumulate ? 7 : 5);
    EXPECT_EQ(to[2], accumulate ? 13 : 10);
    EXPECT_EQ(to[3], accumulate ? 24 : 20);
    gradient.begin_sum();
    EXPECT_EQ(to[3], accumulate ? 24 : 0);
  }
  const MatrixGradient<float> unwanted;
  unwanted.write(0, 0, 5);
  unwanted.write_rows(0, {values, 1, 2, 2});
  unwanted.begin_sum();
  EXPECT_FALSE(unwanted.columns(1, 1).wanted());
  const MatrixGradient<float> columns =
      MatrixGradient<float>{{numbers, 2, 2, 2}, true}.columns(1, 1);
  EXPECT_EQ(columns.to.data, numbers + 1);
  EXPECT_TRUE(columns.accumulate);
}

}  // namespace
}  // namespace recallbench
