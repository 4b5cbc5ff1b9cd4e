#pragma once

#include <cstdint>

#include "kernels/cuda/shared_address.cuh"

// Copies from global to shared memory that a thread begins and waits for later (PTX: cp.async,
// sm_80 and newer).

namespace recallbench {

/// Copies Bytes (4 or 16, both addresses aligned to them) from global to shared memory without
/// waiting for them.
template <int Bytes>
__device__ inline void copy_async(float* shared, const float* global) {
  const std::uint32_t to = shared_address(shared);
  if constexpr (Bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(global), "n"(Bytes)
                 : "memory");
}

/// The same where `inside`; elsewhere zeros are written and nothing is read.
template <int Bytes>
__device__ inline void copy_async_or_zero(float* shared, const float* global, bool inside) {
  const std::uint32_t to = shared_address(shared);
  const int read = inside ? Bytes : 0;
  if constexpr (Bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(read)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(global), "n"(Bytes),
                 "r"(read)
                 : "memory");
}

/// Asks for a line of 128 bytes of global memory to be in the L2 cache when it is read.
__device__ inline void copy_to_l2(const float* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

/// Ends a group of this thread's copies.
__device__ inline void copies_end_group() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most `Pending` of this thread's groups are under way.
template <int Pending>
__device__ inline void copies_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

}  // namespace recallbench
