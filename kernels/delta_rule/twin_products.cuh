#pragma once

// Products of one warp, as in linear_attention/products.cuh, and pairs of them that share a factor,
// which is then read and rounded once. Both left factors have one stride, and both right ones.

#include "kernels/linear_attention/products.cuh"

namespace recallbench {

/// c [16, 8 N] += a [16, inner] b [inner, 8 N]: a by rows, b by columns.
template <Product P, int N>
__device__ inline void delta_product(float (&c)[N][4], const float* a, int a_stride, const float* b,
                                     int b_stride, int inner, int tiles = N) {
  const float* a0 = a + lane_row() * a_stride;
  const float* a1 = a0 + 8 * a_stride;
  for (int k = 0; k < inner; k += 16) {
    if constexpr (P == Product::fp32) {
#pragma unroll
      for (int j = k; j < k + 16; j += 4) {
        const float4 x = *reinterpret_cast<const float4*>(a0 + j);
        const float4 z = *reinterpret_cast<const float4*>(a1 + j);
        add_outer(c, x.x, z.x, b + j * b_stride, tiles);
        add_outer(c, x.y, z.y, b + (j + 1) * b_stride, tiles);
        add_outer(c, x.z, z.z, b + (j + 2) * b_stride, tiles);
        add_outer(c, x.w, z.w, b + (j + 3) * b_stride, tiles);
      }
    } else {
      const float *upper = a0 + k + 2 * lane_column(), *lower = a1 + k + 2 * lane_column();
      const LeftFactor<P> left({upper[0], upper[1], upper[8], upper[9]},
                               {lower[0], lower[1], lower[8], lower[9]});
      add_columns(c, left, b + k * b_stride, b_stride, tiles);
    }
  }
}

/// Inner indices 2t, 2t + 1, 2t + 8, 2t + 9 of the lane's rows of a, for delta_product.
template <Product P>
__device__ inline LeftFactor<P> delta_left(const float* a, int a_stride) {
  const float* upper = a + lane_row() * a_stride + 2 * lane_column();
  const float* lower = upper + 8 * a_stride;
  return {{upper[0], upper[1], upper[8], upper[9]}, {lower[0], lower[1], lower[8], lower[9]}};
}

/// c += a b, d += a b2: a by rows, b and b2 by columns.
template <Product P, int N>
__device__ inline void delta_twin_right(float (&c)[N][4], const float* b, float (&d)[N][4],
                                        const float* b2, int b_stride, const float* a, int a_stride,
                                        int inner) {
  if constexpr (P == Product::fp32) {
    delta_product<P>(c, a, a_stride, b, b_stride, inner);
    delta_product<P>(d, a, a_stride, b2, b_stride, inner);
  } else {
#pragma unroll 4
    for (int k = 0; k < inner; k += 16) {
      const LeftFactor<P> left = delta_left<P>(a + k, a_stride);
      add_columns(c, left, b + k * b_stride, b_stride, N);
      add_columns(d, left, b2 + k * b_stride, b_stride, N);
    }
  }
}

/// c += a b, d += a2 b: a and a2 by rows, b by columns.
template <Product P, int N>
__device__ inline void delta_twin_left(float (&c)[N][4], const float* a, float (&d)[N][4],
                                       const float* a2, int a_stride, const float* b, int b_stride,
                                       int inner) {
  if constexpr (P == Product::fp32) {
    delta_product<P>(c, a, a_stride, b, b_stride, inner);
    delta_product<P>(d, a2, a_stride, b, b_stride, inner);
  } else {
    for (int k = 0; k < inner; k += 16) {
      const LeftFactor<P> x = delta_left<P>(a + k, a_stride), z = delta_left<P>(a2 + k, a_stride);
      const float* b0 = b + (k + 2 * lane_column()) * b_stride + lane_row();
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const float* from = b0 + 8 * n;
        const float y[4] = {from[0], from[b_stride], from[8 * b_stride], from[9 * b_stride]};
        x.add_to(c[n], y);
        z.add_to(d[n], y);
      }
    }
  }
}

/// c += a bᵀ as `P` says, d += a2 bᵀ as `Q`: all by rows, of one stride.
template <Product P, Product Q, int N>
__device__ inline void delta_twin_rows(float (&c)[N][4], const float* a, float (&d)[N][4],
                                       const float* a2, int a_stride, const float* b, int b_stride,
                                       int inner) {
  if constexpr (P == Product::fp32) {
    rows_product<P>(c, a, a_stride, b, b_stride, inner);
    rows_product<Q>(d, a2, a_stride, b, b_stride, inner);
  } else {
    const int g = lane_row(), t = lane_column();
    const float *a0 = a + g * a_stride + t, *z0 = a2 + g * a_stride + t, *b0 = b + g * b_stride + t;
    const int next = 8 * a_stride;
    for (int k = 0; k < inner; k += 16, a0 += 16, z0 += 16, b0 += 16) {
      const LeftFactor<P> x({a0[0], a0[4], a0[8], a0[12]},
                            {a0[next], a0[next + 4], a0[next + 8], a0[next + 12]});
      const LeftFactor<Q> z({z0[0], z0[4], z0[8], z0[12]},
                            {z0[next], z0[next + 4], z0[next + 8], z0[next + 12]});
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const float* from = b0 + 8 * n * b_stride;
        const float y[4] = {from[0], from[4], from[8], from[12]};
        x.add_to(c[n], y);
        z.add_to(d[n], y);
      }
    }
  }
}

/// c += a bᵀ as rows_product has it, as two sums of half of `inner` each, a multiple of 32:
/// products on tensor cores that add to one sum wait for one another.
template <Product P>
__device__ inline void delta_rows_by_halves(float (&c)[1][4], const float* a, int a_stride,
                                            const float* b, int b_stride, int inner) {
  const int half = inner / 2;
  float d[1][4];
  clear(d);
#pragma unroll 2
  for (int k = 0; k < half; k += 16) {
    rows_product<P>(c, a + k, a_stride, b + k, b_stride, 16);
    rows_product<P>(d, a + half + k, a_stride, b + half + k, b_stride, 16);
  }
#pragma unroll
  for (int e = 0; e < 4; ++e)
    c[0][e] += d[0][e];
}

/// columns_product with row k of a times scale · factors[k].
template <Product P, int N>
__device__ inline void delta_scaled_columns(float (&c)[N][4], const float* a, int a_stride,
                                            float scale, const float* factors, const float* b,
                                            int b_stride, int inner) {
  const int g = lane_row(), t = lane_column();
  for (int k = 0; k < inner; k += 16) {
    if constexpr (P == Product::fp32) {
#pragma unroll 4
      for (int j = k; j < k + 16; ++j) {
        const float f = scale * factors[j];
        add_outer(c, f * a[j * a_stride + g], f * a[j * a_stride + g + 8], b + j * b_stride, N);
      }
    } else {
      const float *a0 = a + (k + 2 * t) * a_stride + g, *a1 = a0 + 8, *from = factors + k + 2 * t;
      const float f[4] = {scale * from[0], scale * from[1], scale * from[8], scale * from[9]};
      const LeftFactor<P> left(
          {f[0] * a0[0], f[1] * a0[a_stride], f[2] * a0[8 * a_stride], f[3] * a0[9 * a_stride]},
          {f[0] * a1[0], f[1] * a1[a_stride], f[2] * a1[8 * a_stride], f[3] * a1[9 * a_stride]});
      add_columns(c, left, b + k * b_stride, b_stride, N);
    }
  }
}

}  // namespace recallbench
