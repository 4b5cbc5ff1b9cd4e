#pragma once

#include <cstdint>

// The instructions of sm_80 and newer that C++ has no words for.

namespace recallbench {

/// float32 with the 10 bits of mantissa that tensor cores read, to nearest: ties to even where that
/// is one instruction, away from zero before.
__device__ inline std::uint32_t to_tf32(float x) {
  std::uint32_t bits;
#if __CUDA_ARCH__ >= 900
  asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#else
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#endif
  return bits;
}

/// Two bfloat16 in a word, `low` in the lower half.
__device__ inline std::uint32_t to_bf16(float low, float high) {
  std::uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

/// c [16, 8] += a [16, 8] b [8, 8] over a warp. With g = lane / 4 and t = lane % 4 a thread holds
/// c at (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1); a at (g, t), (g + 8, t), (g, t + 4),
/// (g + 8, t + 4); b at (t, g), (t + 4, g).
__device__ inline void mma_tf32(float (&c)[4], const std::uint32_t (&a)[4],
                                const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// c [16, 8] += a [16, 16] b [16, 8]; as above, but each word of a and b holds two: a at
/// (g, 2t..), (g + 8, 2t..), (g, 2t + 8..), (g + 8, 2t + 8..); b at (2t.., g), (2t + 8.., g).
__device__ inline void mma_bf16(float (&c)[4], const std::uint32_t (&a)[4],
                                const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Copies Bytes (4 or 16, both addresses aligned to them) from global to shared memory without
/// waiting for them.
template <int Bytes>
__device__ inline void copy_async(float* shared, const float* global) {
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  if constexpr (Bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(global), "n"(Bytes)
                 : "memory");
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
