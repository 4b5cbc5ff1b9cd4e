#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace recallbench {

/// Calls work(block) for every block in [0, blocks), on `threads` threads, the first blocks first;
/// on fewer where no more can be started. The first exception is thrown to the caller.
template <class Work>
void for_blocks(std::int64_t blocks, int threads, const Work& work) {
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto run = [&] {
    try {
      for (std::int64_t block = next++; block < blocks; block = next++)
        work(block);
    } catch (...) {
      next = blocks;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  const std::int64_t wanted = std::min<std::int64_t>(threads, blocks);
  std::vector<std::thread> others;
  others.reserve(static_cast<std::size_t>(std::max<std::int64_t>(wanted, 0)));
  try {
    for (std::int64_t i = 1; i < wanted; ++i)
      others.emplace_back(run);
  } catch (const std::system_error&) {
    // Those that there are do it.
  }
  run();
  for (std::thread& thread : others)
    thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace recallbench
