#pragma once

#include <functional>

struct CUgraphExec_st;

namespace recallbench {

/// Work on the GPU, captured once and enqueued again as one: a CUDA graph.
class CapturedWork {
 public:
  /// Captures what `enqueue` puts into the process' stream; nothing of it runs yet. It must have
  /// run once before, so that libraries have allocated what they need, and its memory must stay.
  explicit CapturedWork(const std::function<void()>& enqueue);
  ~CapturedWork();
  CapturedWork(const CapturedWork&) = delete;
  CapturedWork& operator=(const CapturedWork&) = delete;

  /// Enqueues all of it.
  void launch() const;

 private:
  CUgraphExec_st* work_ = nullptr;
};

}  // namespace recallbench
