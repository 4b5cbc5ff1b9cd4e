#pragma once

#include <cstddef>
#include <memory>

#include "kernels/tensor/device.h"

namespace recallbench {

/// Every slice and buffer begins at a multiple of this many bytes: sums in a vectorised loop
/// depend on the alignment, so equal alignment is part of "the same bits".
inline constexpr std::size_t kAlignment = 256;

inline constexpr std::size_t align_up(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// Zeroed, aligned memory of a device that only grows.
class Arena {
 public:
  explicit Arena(Device device = Device::cpu) : device_(device), data_(nullptr, Free{device}) {}
  /// Makes room for at least `bytes`; contents are lost when it grows.
  void reserve(std::size_t bytes);
  std::byte* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  Device device() const { return device_; }

 private:
  struct Free {
    Device device;
    void operator()(std::byte* p) const;
  };
  Device device_;
  std::unique_ptr<std::byte[], Free> data_;
  std::size_t size_ = 0;
};

/// While on, every buffer is filled with NaN before an operation writes it, so that a read of
/// something never written shows. For tests and `check`; process-wide.
void set_memory_poisoning(bool on);
bool memory_poisoning();

}  // namespace recallbench
