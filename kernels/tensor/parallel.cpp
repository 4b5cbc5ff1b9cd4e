#include "kernels/tensor/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace recallbench {
namespace {

/// Workers that sleep between jobs; a job is a counter of blocks that all draw from.
class Pool {
 public:
  ~Pool() { resize(1); }

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  void resize(int threads) {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_)
      worker.join();
    workers_.clear();
    stopping_ = false;
    try {
      for (int i = 1; i < threads; ++i)
        workers_.emplace_back([this, seen = generation_] { work(seen); });
    } catch (const std::system_error& error) {
      resize(1);
      fail(ErrorKind::usage, "threads",
           "cannot start {} threads: {}; lower --jobs, or raise the limits on memory, stacks and "
           "processes (ulimit -a)",
           threads, error.code().message());
    }
  }

  void run(Index blocks, detail::Block call, const void* body) {
    if (workers_.empty() || blocks <= 1) {
      for (Index block = 0; block < blocks; ++block)
        call(body, block);
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      call_ = call;
      body_ = body;
      blocks_ = blocks;
      next_.store(0, std::memory_order_relaxed);
      busy_ = static_cast<int>(workers_.size());
      ++generation_;
    }
    wake_.notify_all();
    drain();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void drain() {
    for (Index block = next_++; block < blocks_; block = next_++) {
      try {
        call_(body_, block);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
      }
    }
  }

  void work(std::uint64_t seen) {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
        if (stopping_) return;
        seen = generation_;
      }
      drain();
      const std::lock_guard lock(mutex_);
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  bool stopping_ = false;
  std::uint64_t generation_ = 0;
  int busy_ = 0;
  std::atomic<Index> next_{0};
  Index blocks_ = 0;
  detail::Block call_ = nullptr;
  const void* body_ = nullptr;
  std::exception_ptr error_;
};

Pool& pool() {
  static Pool instance;
  return instance;
}

}  // namespace

void set_threads(int threads) {
  check(threads >= 1, "set_threads", "expected at least 1 thread, got {}", threads);
  if (threads != pool().threads()) pool().resize(threads);
}

int threads() {
  return pool().threads();
}

void detail::run_blocks(Index blocks, Block call, const void* body) {
  pool().run(blocks, call, body);
}

}  // namespace recallbench
