#pragma once

#include <cstdint>

// Barriers in shared memory, and the copy engine, which arrives at them (PTX: mbarrier,
// cp.async.bulk; sm_90).

namespace recallbench {

using Barrier = std::uint64_t;

/// The barrier is passed, again and again, when `count` have arrived and the bytes that they
/// announced are there.
__device__ inline void barrier_init(std::uint32_t barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}

/// After barrier_init, before the block meets: the copy engine sees the barriers.
__device__ inline void barriers_ready() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ inline void barrier_arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// Arrives and announces copies of so many bytes.
__device__ inline void barrier_expect(std::uint32_t barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

/// Waits until the barrier has been passed for the time that `parity` (time % 2) names.
__device__ inline void barrier_wait(std::uint32_t barrier, std::uint32_t parity) {
  std::uint32_t passed;
  do {
    asm volatile(
        "{\n"
        ".reg .pred passed;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 passed, [%1], %2;\n"
        "selp.u32 %0, 1, 0, passed;\n"
        "}"
        : "=r"(passed)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (passed == 0);
}

/// Begins to copy bytes (a multiple of 16, like both addresses), which `barrier` counts.
__device__ inline void copy_bulk(std::uint32_t shared, const void* global, int bytes,
                                 std::uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared),
      "l"(global), "r"(bytes), "r"(barrier)
      : "memory");
}

/// Where the loop over what comes stands among the `kSlots` that shared memory has room for.
template <int kSlots>
struct Ring {
  int slot = 0;
  std::uint32_t parity = 0;

  __device__ void next() {
    if (++slot == kSlots) slot = 0, parity ^= 1;
  }
};

/// `count` threads of the block, whole warps, meet at one of its barriers 1 to 15; who arrives does
/// not wait.
__device__ inline void threads_meet(int barrier, int count) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(count) : "memory");
}
__device__ inline void threads_arrive(int barrier, int count) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(count) : "memory");
}

}  // namespace recallbench
