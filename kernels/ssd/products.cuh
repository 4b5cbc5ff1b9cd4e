#pragma once

#include "kernels/cuda/shared_address.cuh"
#include "kernels/ssd/chunks.cuh"

// The products of ssd that products.cuh of linear_attention has not: of factors by rows and by
// columns, with weights, of rows that several products share; and a state in the registers of a
// block's warps.

namespace recallbench {

/// A warp's part of a state: rows in groups of 16, two fragments of its 16 channels.
template <int N>
using SsdStateFragments = float[N / 16][2][4];

/// How products of a precision are taken: reading a right factor costs a load and nothing more.
/// What is in shared memory may have been rounded there, once.
constexpr Product ssd_product(Precision p) {
  return p == Precision::tf32 ? Product::cut : product_of(p);
}

/// The lane's number (g, t) of each of four tiles of 8 rows of 4 numbers; lane 8 j + i says where
/// row i of tile j lies in shared memory, at a multiple of 16 bytes (PTX: ldmatrix, for which a
/// number is two of 16 bits).
__device__ inline void ssd_load_tiles(const float* from, float (&to)[4]) {
  std::uint32_t bits[4];
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(bits[0]), "=r"(bits[1]), "=r"(bits[2]), "=r"(bits[3])
               : "r"(shared_address(from))
               : "memory");
#pragma unroll
  for (int j = 0; j < 4; ++j)
    to[j] = __uint_as_float(bits[j]);
}

/// 16 rows of K numbers as left factors of several products of a warp, in registers.
template <Product P, int K>
class SsdRows {
 public:
  __device__ SsdRows(const float* rows, int stride) {
#pragma unroll
    for (int k = 0; k < K / 16; ++k) {
      const int lane = static_cast<int>(threadIdx.x) % 32;
      const float* const from = rows + lane % 16 * stride + lane / 16 * 4 + 16 * k;
      float first[4], second[4];  // of 8 of the 16 numbers: two above, below each other
      ssd_load_tiles(from, first);
      ssd_load_tiles(from + 8, second);
      parts_[k] = LeftFactor<P>({first[0], first[2], second[0], second[2]},
                                {first[1], first[3], second[1], second[3]});
    }
  }

  /// c += rows · bᵀ, b[column][k]. Sums of even and odd k / 16 are apart at first: of few products
  /// that wait for each other, half as many in a row.
  template <int M>
  __device__ void add_product(float (&c)[M][4], const float* b, int b_stride) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const float* const from = b + lane % 8 * b_stride + lane / 8 * 4;
    float odd[M][4];
    clear(odd);
#pragma unroll
    for (int k = 0; k < K / 16; ++k)
#pragma unroll
      for (int n = 0; n < M; ++n) {
        float right[4];
        ssd_load_tiles(from + 8 * n * b_stride + 16 * k, right);
        parts_[k].add_to(k % 2 == 0 ? c[n] : odd[n], right);
      }
    if constexpr (K > 16)
#pragma unroll
      for (int n = 0; n < M; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          c[n][e] += odd[n][e];
  }

 private:
  LeftFactor<P> parts_[K / 16];
};

template <int K>
class SsdRows<Product::fp32, K> {
 public:
  __device__ SsdRows(const float* rows, int stride) : rows_(rows), stride_(stride) {}
  template <int M>
  __device__ void add_product(float (&c)[M][4], const float* b, int b_stride) const {
    rows_product<Product::fp32>(c, rows_, stride_, b, b_stride, K);
  }

 private:
  const float* rows_;
  int stride_;
};

/// c [16, 8 M] += a [16, inner] b [inner, 8 M] of a warp, for a[i][k] and b[k][column].
template <Product P, int M>
__device__ inline void ssd_mixed_product(float (&c)[M][4], const float* a, int a_stride,
                                         const float* b, int b_stride, int inner) {
  const float *a0 = a + lane_row() * a_stride, *a1 = a0 + 8 * a_stride;
  for (int k = 0; k < inner; k += 16) {
    if constexpr (P == Product::fp32) {
#pragma unroll 4
      for (int j = k; j < k + 16; ++j)
        add_outer(c, a0[j], a1[j], b + j * b_stride, M);
    } else {
      const int j = k + 2 * lane_column();
      const LeftFactor<P> left({a0[j], a0[j + 1], a0[j + 8], a0[j + 9]},
                               {a1[j], a1[j + 1], a1[j + 8], a1[j + 9]});
      add_columns(c, left, b + k * b_stride, b_stride, M);
    }
  }
}

/// c [16, 8 M] += Σ_k f[k] a[k][i] b[k][column] over a chunk's tokens k.
template <Product P, int M>
__device__ inline void ssd_weighted_product(float (&c)[M][4], const float* f, const float* a,
                                            int a_stride, const float* b, int b_stride) {
  const int g = lane_row(), t = lane_column();
#pragma unroll
  for (int k = 0; k < kSsdChunk; k += 16) {
    if constexpr (P == Product::fp32) {
#pragma unroll 4
      for (int j = k; j < k + 16; ++j)
        add_outer(c, f[j] * a[j * a_stride + g], f[j] * a[j * a_stride + g + 8], b + j * b_stride,
                  M);
    } else {
      const float *a0 = a + (k + 2 * t) * a_stride + g, *a1 = a0 + 8;
      const float2 first = *reinterpret_cast<const float2*>(f + k + 2 * t);
      const float2 second = *reinterpret_cast<const float2*>(f + k + 2 * t + 8);
      const LeftFactor<P> left({first.x * a0[0], first.y * a0[a_stride],
                                second.x * a0[8 * a_stride], second.y * a0[9 * a_stride]},
                               {first.x * a1[0], first.y * a1[a_stride],
                                second.x * a1[8 * a_stride], second.y * a1[9 * a_stride]});
      add_columns(c, left, b + k * b_stride, b_stride, M);
    }
  }
}

/// state = over · state + Σ_k f[k] rows[k] tokens[k]ᵀ over a chunk's tokens: the warp's fragments.
template <Product P, int N>
__device__ void ssd_advance(float over, const float* f, const SsdStateRows<N>& rows,
                            const SsdTokens& tokens, SsdStateFragments<N>& state) {
  const int channel = static_cast<int>(threadIdx.x) / 32 * 16;
#pragma unroll
  for (int m = 0; m < N / 16; ++m) {
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        state[m][j][e] *= over;
    ssd_weighted_product<P>(state[m], f, &rows[0][16 * m], N + kSsdPad, &tokens[0][channel],
                            kSsdStride);
  }
}

/// body(m, j, e, n, p): element e and its right neighbour of the warp's fragment (m, j) are at row
/// n and channels p and p + 1 of the state.
template <int N, class Body>
__device__ inline void ssd_for_state(const Body& body) {
  const int channel = static_cast<int>(threadIdx.x) / 32 * 16 + 2 * lane_column();
#pragma unroll
  for (int m = 0; m < N / 16; ++m)
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int e = 0; e < 4; e += 2)
        body(m, j, e, 16 * m + lane_row() + 4 * e, channel + 8 * j);
}

/// The warp's part of a state to rows that are `stride` apart, or that rounded to tf32.
template <int N, bool kRounded = false>
__device__ inline void ssd_store_state(const SsdStateFragments<N>& state, float* to, int stride) {
  ssd_for_state<N>([&](int m, int j, int e, int n, int p) {
    float2 two = make_float2(state[m][j][e], state[m][j][e + 1]);
    if constexpr (kRounded)
      two = make_float2(__uint_as_float(tf32_bits(two.x)), __uint_as_float(tf32_bits(two.y)));
    *reinterpret_cast<float2*>(to + n * stride + p) = two;
  });
}

}  // namespace recallbench
