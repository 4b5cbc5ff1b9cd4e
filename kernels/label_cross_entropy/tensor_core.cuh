#pragma once

// Products of 16-bit matrices with float32 sums by one warp (mma.sync, sm_80 and newer), and the
// copies that feed them.
//
// Of a 16 x 8 result, lane l holds rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next:
// c[0], c[1] of the first row, c[2], c[3] of the second.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include <type_traits>
#include "kernels/cuda/shared_address.cuh"

namespace recallbench {

/// c += a b with a [16, 16] and b [16, 8].
template <class E>
__device__ inline void mma(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                           std::uint32_t b1) {
  if constexpr (std::is_same_v<E, __half>)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Four 8 x 8 matrices of 16-bit numbers from shared memory; lane l gives the address of row l % 8
/// of matrix l / 8. Lane l gets row l / 4, columns 2 (l % 4) and the next, of each.
__device__ inline void load_matrices(std::uint32_t (&m)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address)
               : "memory");
}

/// The same of their transposes.
__device__ inline void load_transposed(std::uint32_t (&m)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address)
               : "memory");
}

/// Begins a copy of 16 aligned bytes from global to shared memory.
__device__ inline void copy_16_bytes(std::uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
/// Waits for all copies that this thread began.
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

/// Two numbers rounded to nearest, the first in the low half.
template <class E>
__device__ inline std::uint32_t pack(float low, float high) {
  if constexpr (std::is_same_v<E, __half>) {
    const __half2 two = __floats2half2_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&two);
  } else {
    const __nv_bfloat162 two = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&two);
  }
}

template <class E>
__device__ inline float widen(E x) {
  if constexpr (std::is_same_v<E, __half>)
    return __half2float(x);
  else
    return __bfloat162float(x);
}

/// 2^x in one instruction (2 ulp; 0 below 2^-126).
__device__ inline float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace recallbench
