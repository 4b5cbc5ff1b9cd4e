#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace recallbench {

/// Calls work(block) for every block in [0, blocks), on `threads` threads, the first blocks first;
/// the first exception is thrown to the caller.
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
  std::vector<std::thread> others;
  for (std::int64_t i = 1; i < std::min<std::int64_t>(threads, blocks); ++i)
    others.emplace_back(run);
  run();
  for (std::thread& thread : others)
    thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace recallbench
