#pragma once

#include <cstdint>
#include <type_traits>

#include <cuda_fp16.h>

// Products of a warpgroup: four warps, the first of which is a multiple of four (PTX: wgmma, sm_90a
// alone). They run beside the threads that began them, which may touch neither sums nor fragments
// until they have waited.

namespace recallbench {

/// Before products: what the threads wrote to registers can be read.
__device__ inline void products_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

/// After threads wrote to shared memory, before they meet and products read it there.
__device__ inline void products_see_shared() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// Ends a group of products.
__device__ inline void products_end_group() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/// Waits until at most `Pending` groups are under way.
template <int Pending>
__device__ inline void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

/// After a wait: the compiler uses these sums no earlier.
template <int kColumnEights>
__device__ inline void products_arrived(float (&sum)[kColumnEights][4]) {
#pragma unroll
  for (auto& four : sum)
#pragma unroll
    for (float& x : four)
      asm volatile("" : "+f"(x)::"memory");
}

/// After the wait for products that read these registers: the compiler gives them to nothing else
/// before.
template <class Fragments>
__device__ inline void fragments_used(Fragments& fragments) {
  if constexpr (std::is_array_v<Fragments>) {
#pragma unroll
    for (auto& part : fragments)
      fragments_used(part);
  } else {
    asm volatile("" : "+r"(fragments)::"memory");
  }
}

/// A matrix in shared memory as a product takes it. It lies there in rows of 128 bytes, side by
/// side, in eight pieces of 16 bytes; piece i of row j is at i ^ (j % 8), and the rows begin at a
/// multiple of 1024. Rows lie along the inner sum or across it. Where they lie across and the
/// matrix is wider than they are, the rows that continue them come `next` bytes further.
class SwizzledRows {
 public:
  __device__ explicit SwizzledRows(std::uint32_t address, int next = 16)
      : place_(address / 16 | static_cast<std::uint32_t>(next / 16) << 16) {}

  /// The same from `bytes` on: eights of rows, or what the inner sum takes of a row.
  __device__ SwizzledRows from(int bytes) const {
    SwizzledRows rows = *this;
    rows.place_ += static_cast<std::uint32_t>(bytes / 16);
    return rows;
  }
  __device__ std::uint64_t descriptor() const {
    constexpr std::uint64_t kSwizzle128 = std::uint64_t{1} << 62;
    constexpr std::uint64_t kEightRows = std::uint64_t{1024 / 16} << 32;
    return kSwizzle128 | kEightRows | place_;
  }

 private:
  std::uint32_t place_;
};

#define RECALLBENCH_WGMMA_FOUR(i) "+f"(sum[i][0]), "+f"(sum[i][1]), "+f"(sum[i][2]), "+f"(sum[i][3])
#define RECALLBENCH_WGMMA_32(i)                                                                    \
  RECALLBENCH_WGMMA_FOUR(i), RECALLBENCH_WGMMA_FOUR(i + 1), RECALLBENCH_WGMMA_FOUR(i + 2),         \
      RECALLBENCH_WGMMA_FOUR(i + 3), RECALLBENCH_WGMMA_FOUR(i + 4), RECALLBENCH_WGMMA_FOUR(i + 5), \
      RECALLBENCH_WGMMA_FOUR(i + 6), RECALLBENCH_WGMMA_FOUR(i + 7)
#define RECALLBENCH_WGMMA_NAMES_32                                         \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define RECALLBENCH_WGMMA_NAMES_64                                                     \
  RECALLBENCH_WGMMA_NAMES_32                                                           \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

#define RECALLBENCH_WGMMA_NAMES_128                                                    \
  RECALLBENCH_WGMMA_NAMES_64                                                           \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "   \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, "   \
  "%110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, "     \
  "%123, %124, %125, %126, %127"

/// sum = a bᵀ, or += where `add`, in 16 bits with float32 sums: a [64, 16], b [n, 16], rows of
/// both along the inner sum, n = 64 or 128. A warp has 16 rows of the sum: in lane l, sum[j][0] and
/// [1] are row l / 4, columns 8 j + 2 (l % 4) and the next, [2] and [3] those of row l / 4 + 8.
template <class E, int kColumnEights>
__device__ inline void wgmma_rows(float (&sum)[kColumnEights][4], SwizzledRows a, SwizzledRows b,
                                  bool add) {
  static_assert(kColumnEights == 8 || kColumnEights == 16);
#define RECALLBENCH_WGMMA(type)                                           \
  if constexpr (kColumnEights == 8)                                       \
    asm volatile(                                                         \
        "{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\n"                  \
        "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type       \
        " "                                                               \
        "{" RECALLBENCH_WGMMA_NAMES_32 "}, %32, %33, add, 1, 1, 0, 0;\n}" \
        : RECALLBENCH_WGMMA_32(0)                                         \
        : "l"(a.descriptor()), "l"(b.descriptor()), "r"(int{add}));       \
  else                                                                    \
    asm volatile(                                                         \
        "{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"                  \
        "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type      \
        " "                                                               \
        "{" RECALLBENCH_WGMMA_NAMES_64 "}, %64, %65, add, 1, 1, 0, 0;\n}" \
        : RECALLBENCH_WGMMA_32(0), RECALLBENCH_WGMMA_32(8)                \
        : "l"(a.descriptor()), "l"(b.descriptor()), "r"(int{add}))
  if constexpr (std::is_same_v<E, __half>) {
    RECALLBENCH_WGMMA("f16");
  } else {
    RECALLBENCH_WGMMA("bf16");
  }
#undef RECALLBENCH_WGMMA
}

/// sum += a b: a [64, 16] from registers, a lane's of the warp's 16 rows as mma.m16n8k16 has them;
/// b [16, n], rows across the inner sum.
template <class E, int kColumnEights>
__device__ inline void wgmma_columns(float (&sum)[kColumnEights][4], const std::uint32_t (&a)[4],
                                     SwizzledRows b) {
  static_assert(kColumnEights == 8 || kColumnEights == 16);
#define RECALLBENCH_WGMMA(type)                                                             \
  if constexpr (kColumnEights == 8)                                                         \
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type                \
                 " "                                                                        \
                 "{" RECALLBENCH_WGMMA_NAMES_32 "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;" \
                 : RECALLBENCH_WGMMA_32(0)                                                  \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor()));        \
  else                                                                                      \
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type               \
                 " "                                                                        \
                 "{" RECALLBENCH_WGMMA_NAMES_64 "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;" \
                 : RECALLBENCH_WGMMA_32(0), RECALLBENCH_WGMMA_32(8)                         \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor()))
  if constexpr (std::is_same_v<E, __half>) {
    RECALLBENCH_WGMMA("f16");
  } else {
    RECALLBENCH_WGMMA("bf16");
  }
#undef RECALLBENCH_WGMMA
}

/// sum += a bᵀ in tf32, of which the operands have the bits already: a [64, 8] from registers, a
/// lane's of the warp's 16 rows as mma.m16n8k8 has them; b [n, 8], rows along the inner sum,
/// n = 128 or 256.
template <int kColumnEights>
__device__ inline void wgmma_tf32(float (&sum)[kColumnEights][4], const std::uint32_t (&a)[4],
                                  SwizzledRows b) {
  static_assert(kColumnEights == 16 || kColumnEights == 32);
  if constexpr (kColumnEights == 16)
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 "
        "{" RECALLBENCH_WGMMA_NAMES_64 "}, {%64, %65, %66, %67}, %68, 1, 1, 1;"
        : RECALLBENCH_WGMMA_32(0), RECALLBENCH_WGMMA_32(8)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor()));
  else
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n256k8.f32.tf32.tf32 "
        "{" RECALLBENCH_WGMMA_NAMES_128 "}, {%128, %129, %130, %131}, %132, 1, 1, 1;"
        : RECALLBENCH_WGMMA_32(0), RECALLBENCH_WGMMA_32(8), RECALLBENCH_WGMMA_32(16),
          RECALLBENCH_WGMMA_32(24)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor()));
}

#undef RECALLBENCH_WGMMA_FOUR
#undef RECALLBENCH_WGMMA_32
#undef RECALLBENCH_WGMMA_NAMES_32
#undef RECALLBENCH_WGMMA_NAMES_64
#undef RECALLBENCH_WGMMA_NAMES_128

}  // namespace recallbench
