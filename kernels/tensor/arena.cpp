#include "kernels/tensor/arena.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "kernels/base/error.h"
#include "kernels/cuda/runtime.h"

namespace recallbench {
namespace {

std::atomic<bool> poisoning{false};

std::byte* allocate_on_host(std::size_t bytes) {
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes));
  if (memory == nullptr)
    fail(ErrorKind::internal, "memory", "{} MiB were asked for and not to be had", bytes >> 20);
  std::memset(memory, 0, bytes);
  return memory;
}

}  // namespace

void Arena::Free::operator()(std::byte* p) const {
  if (device == Device::cpu) std::free(p);
  if constexpr (kCudaBuild)
    if (device == Device::cuda) cuda_free(p);
}

void Arena::reserve(std::size_t bytes) {
  bytes = align_up(bytes);
  if (bytes <= size_) return;
  data_.reset();
  size_ = 0;
  if (device_ == Device::cpu) {
    data_.reset(allocate_on_host(bytes));
  } else {
    check(kCudaBuild, "Arena", "expected a build with CUDA");
    if constexpr (kCudaBuild) data_.reset(cuda_allocate(bytes));
  }
  size_ = bytes;
}

void set_memory_poisoning(bool on) {
  poisoning = on;
}
bool memory_poisoning() {
  return poisoning;
}

}  // namespace recallbench
