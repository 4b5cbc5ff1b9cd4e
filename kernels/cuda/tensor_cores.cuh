#pragma once

#include <cuda_bf16.h>

#include <cstdint>

// The two warp-wide products that every GPU since Ampere has (PTX: mma.sync). With g = lane / 4 and
// t = lane % 4, a lane holds of the product its elements (g, 2t), (g, 2t + 1), (g + 8, 2t),
// (g + 8, 2t + 1).

namespace recallbench {

/// Rounded to nearest, to the 10 bits of mantissa that tensor cores read: ties to even where that
/// is one instruction, away from zero before.
__device__ inline std::uint32_t tf32_bits(float x) {
  std::uint32_t bits;
#if __CUDA_ARCH__ >= 900
  asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#else
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#endif
  return bits;
}

/// Two bfloat16 numbers, the first in the low half.
__device__ inline std::uint32_t bf16_bits(float low, float high) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&both);
}

/// sum += a · b, a [16, 8] in tf32: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4); b [8, 8]:
/// (t, g), (t + 4, g).
__device__ inline void mma_tf32(float (&sum)[4], const std::uint32_t (&a)[4],
                                const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// sum += a · b, a [16, 16] in bfloat16: (g, 2t..), (g + 8, 2t..), (g, 2t + 8..), (g + 8, 2t
/// + 8..), two numbers each; b [16, 8]: (2t.., g), (2t + 8.., g).
__device__ inline void mma_bf16(float (&sum)[4], const std::uint32_t (&a)[4],
                                const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace recallbench
