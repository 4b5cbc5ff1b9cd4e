#pragma once

#include "kernels/cuda/tensor_cores.cuh"
#include "kernels/tensor/device.h"

// Products of matrices in shared memory by a block of 256 threads, sums in registers.

namespace recallbench {

inline constexpr int kThreads = 256;
inline constexpr int kWarps = kThreads / 32;

/// A [kRows, kCols] matrix in a block's registers. A warp holds 16 rows of kTiles tiles of 8
/// columns; of each tile a lane holds at[tile][0..3], spread as tensor_cores.cuh says.
template <int kRows, int kCols>
struct BlockProduct {
  static constexpr int kRowWarps = kRows / 16;
  static constexpr int kColWarps = kWarps / kRowWarps;
  static constexpr int kTiles = (kCols / 8 + kColWarps - 1) / kColWarps;
  static_assert(kRows % 16 == 0 && kWarps % kRowWarps == 0 && kCols % 8 == 0);

  float at[kTiles][4];

  static __device__ int first_row() { return threadIdx.x / 32 % kRowWarps * 16; }
  /// kCols or more for warps that there is nothing left for.
  static __device__ int first_col() { return threadIdx.x / 32 / kRowWarps * (kTiles * 8); }
  /// Of at[tile][i]; i = 0 and 1 lie side by side, so do 2 and 3.
  static __device__ int row(int i) { return first_row() + threadIdx.x % 32 / 4 + 8 * (i / 2); }
  static __device__ int col(int tile, int i) {
    return first_col() + 8 * tile + 2 * (threadIdx.x % 4) + i % 2;
  }

  __device__ void clear() {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        at[tile][i] = 0;
  }
  __device__ void scale_rows(const float* factors) {
    const float low = factors[row(0)], high = factors[row(2)];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        at[tile][i] *= i < 2 ? low : high;
  }
};

/// How the inner index, over which a product sums, runs through an operand in shared memory.
enum class Inner { along_rows, down_columns };

/// Element (outer, inner) of an operand. `stride` is even and `data` aligned to 8 bytes.
template <Inner kInner>
struct Operand {
  const float* data;
  int stride;

  __device__ float at(int outer, int inner) const {
    return kInner == Inner::along_rows ? data[outer * stride + inner]
                                       : data[inner * stride + outer];
  }
  /// (outer, inner) and (outer, inner + 1); `inner` is even.
  __device__ float2 pair(int outer, int inner) const {
    if constexpr (kInner == Inner::along_rows)
      return *reinterpret_cast<const float2*>(data + outer * stride + inner);
    else
      return make_float2(at(outer, inner), at(outer, inner + 1));
  }
};

/// A lane's two of the 8 inner indices from `inner` on: neighbours, so that a pair is one load,
/// where both operands allow it; else 4 apart, which keeps their banks apart. A sum does not mind
/// in which order it takes its terms, as long as both operands take the same.
template <bool kNeighbours, Inner kInner>
__device__ float2 fragment(const Operand<kInner>& x, int outer, int inner) {
  const int t = threadIdx.x % 4;
  if constexpr (kNeighbours) return x.pair(outer, inner + 2 * t);
  return make_float2(x.at(outer, inner + t), x.at(outer, inner + t + 4));
}

/// sum += a · b in float32.
template <int kRows, int kCols, Inner kA, Inner kB>
__device__ void multiply_exactly(BlockProduct<kRows, kCols>& sum, const Operand<kA>& a,
                                 const Operand<kB>& b, int inner, int cols) {
  using Sum = BlockProduct<kRows, kCols>;
  const int row = Sum::row(0);
#pragma unroll 4
  for (int k = 0; k < inner; k += 2) {
    const float2 low = a.pair(row, k), high = a.pair(row + 8, k);
#pragma unroll
    for (int tile = 0; tile < Sum::kTiles; ++tile) {
      if (Sum::first_col() + 8 * tile >= cols) break;
      const int col = Sum::col(tile, 0);
      float2 left, right;  // columns col and col + 1
      if constexpr (kB == Inner::along_rows) {
        left = b.pair(col, k), right = b.pair(col + 1, k);
      } else {
        const float2 first = *reinterpret_cast<const float2*>(b.data + k * b.stride + col);
        const float2 second = *reinterpret_cast<const float2*>(b.data + (k + 1) * b.stride + col);
        left = make_float2(first.x, second.x), right = make_float2(first.y, second.y);
      }
      float(&s)[4] = sum.at[tile];
      s[0] = fmaf(low.y, left.y, fmaf(low.x, left.x, s[0]));
      s[1] = fmaf(low.y, right.y, fmaf(low.x, right.x, s[1]));
      s[2] = fmaf(high.y, left.y, fmaf(high.x, left.x, s[2]));
      s[3] = fmaf(high.y, right.y, fmaf(high.x, right.x, s[3]));
    }
  }
}

/// sum += a · b over inner indices [0, inner), a multiple of 16, where a warp's 16 rows begin
/// before row `rows` and a tile before column `cols`; operands are rounded as kPrecision says. a:
/// (row, inner), b: (column, inner).
template <Precision kPrecision, int kRows, int kCols, Inner kA, Inner kB>
__device__ void multiply(BlockProduct<kRows, kCols>& sum, const Operand<kA>& a,
                         const Operand<kB>& b, int inner, int rows, int cols) {
  using Sum = BlockProduct<kRows, kCols>;
  if (Sum::first_row() >= rows || Sum::first_col() >= cols) return;
  if constexpr (kPrecision == Precision::fp32) {
    multiply_exactly(sum, a, b, inner, cols);
  } else {
    constexpr bool kNeighbours = kA == Inner::along_rows && kB == Inner::along_rows;
    const int g = threadIdx.x % 32 / 4, row = Sum::first_row() + g;
#pragma unroll 2
    for (int k = 0; k < inner; k += 16) {
      std::uint32_t left[2][4];  // bf16: one product of 16 terms, tf32: two of 8
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float2 low = fragment<kNeighbours>(a, row, k + 8 * half);
        const float2 high = fragment<kNeighbours>(a, row + 8, k + 8 * half);
        if constexpr (kPrecision == Precision::bf16) {
          left[0][2 * half] = bf16_bits(low.x, low.y);
          left[0][2 * half + 1] = bf16_bits(high.x, high.y);
        } else {
          left[half][0] = tf32_bits(low.x), left[half][1] = tf32_bits(high.x);
          left[half][2] = tf32_bits(low.y), left[half][3] = tf32_bits(high.y);
        }
      }
#pragma unroll
      for (int tile = 0; tile < Sum::kTiles; ++tile) {
        const int col = Sum::first_col() + 8 * tile;
        if (col >= cols) break;
        const float2 first = fragment<kNeighbours>(b, col + g, k);
        const float2 second = fragment<kNeighbours>(b, col + g, k + 8);
        if constexpr (kPrecision == Precision::bf16) {
          mma_bf16(sum.at[tile], left[0],
                   {bf16_bits(first.x, first.y), bf16_bits(second.x, second.y)});
        } else {
          mma_tf32(sum.at[tile], left[0], {tf32_bits(first.x), tf32_bits(first.y)});
          mma_tf32(sum.at[tile], left[1], {tf32_bits(second.x), tf32_bits(second.y)});
        }
      }
    }
  }
}

}  // namespace recallbench
