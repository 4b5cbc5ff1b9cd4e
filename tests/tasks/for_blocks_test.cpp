#include "tasks/for_blocks.h"

#include <gtest/gtest.h>

#include "tests/support/no_more_threads.h"

namespace recallbench {
namespace {

TEST(ForBlocks, GoOnWithFewerThreads) {
  std::atomic<int> blocks = 0;
  const auto count = [&](std::int64_t) { ++blocks; };
  {
    const NoMoreThreads none;
    ASSERT_THROW(std::thread([] {}).join(), std::system_error);
    for_blocks(100, 4, count);
  }
  EXPECT_EQ(blocks, 100);
  for_blocks(100, 4, count);
  EXPECT_EQ(blocks, 200);
}

}  // namespace
}  // namespace recallbench
