#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "kernels/base/error.h"
#include "kernels/tensor/parallel.h"
#include "tests/support/no_more_threads.h"

namespace recallbench {
namespace {

TEST(Threads, ThatCannotBeStartedAreAnErrorOfTheCaller) {
  std::string message;
  {
    const NoMoreThreads none;
    ASSERT_THROW(std::thread([] {}).join(), std::system_error);
    try {
      set_threads(3);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      message = error.what();
    }
  }
  EXPECT_NE(message.find("cannot start 3 threads"), std::string::npos) << message;
  EXPECT_NE(message.find("--jobs"), std::string::npos) << message;
  EXPECT_EQ(threads(), 1);
  set_threads(3);
  std::atomic<int> blocks = 0;
  parallel_for(100, [&](Index) { ++blocks; });
  EXPECT_EQ(blocks, 100);
  set_threads(1);
}

}  // namespace
}  // namespace recallbench
