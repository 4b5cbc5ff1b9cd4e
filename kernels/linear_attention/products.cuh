#pragma once

#include "kernels/cuda/tensor_cores.cuh"
#include "kernels/tensor/device.h"

// Products of one warp: c [16, 8 N] += a [16, inner] b [inner, 8 N], where c is N fragments: with
// g = lane / 4 and t = lane % 4, c[n] holds (g, 8n + 2t), (g, 8n + 2t + 1), (g + 8, 8n + 2t),
// (g + 8, 8n + 2t + 1). Products in float32 without tensor cores use the same layout, so a kernel
// is one text for every precision. `inner` is a multiple of 16; `tiles` <= N says how many
// fragments are wanted. Which inner indices a lane takes is free as long as a and b agree; the
// choices below leave shared memory without bank conflicts where strides are 4 more than a multiple
// of 8. All pointers and strides: multiples of 16 bytes.

namespace recallbench {

/// How a product is taken: as a Precision says, or `split`: each factor as the sum of two tf32
/// numbers, three products on tensor cores, errors of about 2^-21; `cut`: tf32 where the right
/// factor's last bits are dropped, as tensor cores do by themselves, for twice its error.
enum class Product { fp32, tf32, bf16, split, cut };

constexpr Product product_of(Precision p) {
  return p == Precision::fp32   ? Product::fp32
         : p == Precision::tf32 ? Product::tf32
                                : Product::bf16;
}
/// Of scores: as good as float32, since denominators are sensitive and the inner sums short.
constexpr Product exact_product(Precision p) {
  return p == Precision::fp32 ? Product::fp32 : Product::split;
}

__device__ inline int lane_row() {
  return static_cast<int>(threadIdx.x) % 32 / 4;
}
__device__ inline int lane_column() {
  return static_cast<int>(threadIdx.x) % 4;
}

template <int N>
__device__ inline void clear(float (&c)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
    c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0;
}

/// Sixteen inner indices of a, on tensor cores: made of a at (g, k_j) in `upper` and (g + 8, k_j)
/// in `lower`, for the lane's four inner indices k_j.
template <Product P>
class LeftFactor {
 public:
  LeftFactor() = default;
  __device__ LeftFactor(const float (&upper)[4], const float (&lower)[4]) {
    if constexpr (P == Product::bf16) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        high_[0][2 * h] = bf16_bits(upper[2 * h], upper[2 * h + 1]);
        high_[0][2 * h + 1] = bf16_bits(lower[2 * h], lower[2 * h + 1]);
      }
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        split(upper[j], high_[j / 2][j % 2 * 2], low_[j / 2][j % 2 * 2]);
        split(lower[j], high_[j / 2][j % 2 * 2 + 1], low_[j / 2][j % 2 * 2 + 1]);
      }
    }
  }

  /// c += this · b, of b at (k_j, g).
  __device__ void add_to(float (&c)[4], const float (&b)[4]) const {
    if constexpr (P == Product::bf16) {
      mma_bf16(c, high_[0], {bf16_bits(b[0], b[1]), bf16_bits(b[2], b[3])});
    } else {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        std::uint32_t high[2], low[2];
        if constexpr (P == Product::cut) {
          high[0] = __float_as_uint(b[2 * h]);
          high[1] = __float_as_uint(b[2 * h + 1]);
        } else {
          split(b[2 * h], high[0], low[0]);
          split(b[2 * h + 1], high[1], low[1]);
        }
        if constexpr (P == Product::split) {
          mma_tf32(c, low_[h], high);
          mma_tf32(c, high_[h], low);
        }
        mma_tf32(c, high_[h], high);
      }
    }
  }

 private:
  __device__ static void split(float x, std::uint32_t& high, std::uint32_t& low) {
    high = tf32_bits(x);
    if constexpr (P == Product::split) low = tf32_bits(x - __uint_as_float(high));
  }

  std::uint32_t high_[2][4], low_[2][4];  // bf16: one word row; low: of `split`
};

/// a[i][k], b[column][k]: both by rows.
template <Product P, int N>
__device__ inline void rows_product(float (&c)[N][4], const float* a, int a_stride, const float* b,
                                    int b_stride, int inner, int tiles = N) {
  const int g = lane_row(), t = lane_column();
  if constexpr (P == Product::fp32) {
    const float* a0 = a + g * a_stride;
    for (int k = 0; k < inner; k += 4) {
      const float4 x = *reinterpret_cast<const float4*>(a0 + k);
      const float4 z = *reinterpret_cast<const float4*>(a0 + 8 * a_stride + k);
#pragma unroll
      for (int n = 0; n < N; ++n) {
        if (n >= tiles) continue;
        const float* b0 = b + (8 * n + 2 * t) * b_stride + k;
        const float4 u = *reinterpret_cast<const float4*>(b0);
        const float4 v = *reinterpret_cast<const float4*>(b0 + b_stride);
        c[n][0] += x.x * u.x + x.y * u.y + x.z * u.z + x.w * u.w;
        c[n][1] += x.x * v.x + x.y * v.y + x.z * v.z + x.w * v.w;
        c[n][2] += z.x * u.x + z.y * u.y + z.z * u.z + z.w * u.w;
        c[n][3] += z.x * v.x + z.y * v.y + z.z * v.z + z.w * v.w;
      }
    }
  } else {
    const float *a0 = a + g * a_stride + t, *a1 = a0 + 8 * a_stride, *b0 = b + g * b_stride + t;
    for (int k = 0; k < inner; k += 16) {
      const LeftFactor<P> left({a0[k], a0[k + 4], a0[k + 8], a0[k + 12]},
                               {a1[k], a1[k + 4], a1[k + 8], a1[k + 12]});
#pragma unroll
      for (int n = 0; n < N; ++n) {
        if (n >= tiles) continue;
        const float* from = b0 + 8 * n * b_stride + k;
        left.add_to(c[n], {from[0], from[4], from[8], from[12]});
      }
    }
  }
}

/// b at the inner indices 2t, 2t + 1, 2t + 8, 2t + 9 of 16, for b[k][column].
template <Product P, int N>
__device__ inline void add_columns(float (&c)[N][4], const LeftFactor<P>& left, const float* b,
                                   int b_stride, int tiles) {
  const float* b0 = b + 2 * lane_column() * b_stride + lane_row();
#pragma unroll
  for (int n = 0; n < N; ++n) {
    if (n >= tiles) continue;
    const float* from = b0 + 8 * n;
    left.add_to(c[n], {from[0], from[b_stride], from[8 * b_stride], from[9 * b_stride]});
  }
}

/// A row of b times one column of a, of which a lane has (g) and (g + 8), without tensor cores.
template <int N>
__device__ inline void add_outer(float (&c)[N][4], float upper, float lower, const float* row,
                                 int tiles) {
#pragma unroll
  for (int n = 0; n < N; ++n) {
    if (n >= tiles) continue;
    const float2 y = *reinterpret_cast<const float2*>(row + 8 * n + 2 * lane_column());
    c[n][0] += upper * y.x;
    c[n][1] += upper * y.y;
    c[n][2] += lower * y.x;
    c[n][3] += lower * y.y;
  }
}

/// 16 inner indices: a is two neighbouring fragments (k as their columns), b[k][column].
template <Product P, int N>
__device__ inline void fragment_product(float (&c)[N][4], const float (&a0)[4],
                                        const float (&a1)[4], const float* b, int b_stride,
                                        int tiles = N) {
  if constexpr (P == Product::fp32) {
    const int quad = static_cast<int>(threadIdx.x) % 32 / 4 * 4;
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      const float upper = k < 8 ? a0[k % 2] : a1[k % 2];
      const float lower = k < 8 ? a0[2 + k % 2] : a1[2 + k % 2];
      const int from = quad + k % 8 / 2;  // the lane that has column k
      add_outer(c, __shfl_sync(0xffffffffu, upper, from), __shfl_sync(0xffffffffu, lower, from),
                b + k * b_stride, tiles);
    }
  } else {
    const LeftFactor<P> left({a0[0], a0[1], a1[0], a1[1]}, {a0[2], a0[3], a1[2], a1[3]});
    add_columns(c, left, b, b_stride, tiles);
  }
}

/// a[k][i], b[k][column]: both by columns.
template <Product P, int N>
__device__ inline void columns_product(float (&c)[N][4], const float* a, int a_stride,
                                       const float* b, int b_stride, int inner, int tiles = N) {
  const int g = lane_row(), t = lane_column();
  for (int k = 0; k < inner; k += 16) {
    if constexpr (P == Product::fp32) {
#pragma unroll 4
      for (int j = k; j < k + 16; ++j)
        add_outer(c, a[j * a_stride + g], a[j * a_stride + g + 8], b + j * b_stride, tiles);
    } else {
      const float *a0 = a + (k + 2 * t) * a_stride + g, *a1 = a0 + 8;
      const LeftFactor<P> left({a0[0], a0[a_stride], a0[8 * a_stride], a0[9 * a_stride]},
                               {a1[0], a1[a_stride], a1[8 * a_stride], a1[9 * a_stride]});
      add_columns(c, left, b + k * b_stride, b_stride, tiles);
    }
  }
}

}  // namespace recallbench
