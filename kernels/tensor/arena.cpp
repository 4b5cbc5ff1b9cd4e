#include "kernels/tensor/arena.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "kernels/base/error.h"

namespace recallbench {
namespace {
std::atomic<bool> poisoning{false};
}

void Arena::Free::operator()(std::byte* p) const {
  std::free(p);
}

void Arena::reserve(std::size_t bytes) {
  bytes = align_up(bytes);
  if (bytes <= size_) return;
  data_.reset();
  size_ = 0;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes));
  if (memory == nullptr) {
    fail(ErrorKind::internal, "memory", "{} MiB were asked for and not to be had", bytes >> 20);
  }
  std::memset(memory, 0, bytes);
  data_.reset(memory);
  size_ = bytes;
}

void set_memory_poisoning(bool on) {
  poisoning = on;
}
bool memory_poisoning() {
  return poisoning;
}

}  // namespace recallbench
