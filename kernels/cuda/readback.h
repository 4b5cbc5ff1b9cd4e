#pragma once

#include <cstddef>
#include <span>

struct CUevent_st;

namespace recallbench {

/// A float32 array of the GPU and its twin on the host, of which ranges are read back without
/// stopping the GPU.
class Readback {
 public:
  explicit Readback(std::size_t count);
  ~Readback();
  Readback(const Readback&) = delete;
  Readback& operator=(const Readback&) = delete;

  float* device() const { return device_; }
  std::size_t size() const { return size_; }
  /// Enqueues a copy of [first, first + count) to the host and marks the place in the stream:
  /// `mark` 0 or 1.
  void enqueue(std::size_t first, std::size_t count, int mark);
  /// Waits for what was enqueued under `mark`.
  void wait(int mark) const;
  std::span<const float> host() const { return {host_, size_}; }

 private:
  std::size_t size_;
  float* device_ = nullptr;
  float* host_ = nullptr;
  CUevent_st* marks_[2] = {nullptr, nullptr};
};

}  // namespace recallbench
