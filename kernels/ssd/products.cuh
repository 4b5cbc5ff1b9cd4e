#pragma once

#include "kernels/cuda/shared_address.cuh"
#include "kernels/ssd/chunks.cuh"

// The products of ssd that products.cuh of linear_attention has not: of rows that several products
// share; of weights and tokens, whose sums have channels as rows, so that what is read most comes
// from shared memory two numbers at a time; and a state in the registers of a block's warps.

namespace recallbench {

/// A warp's part of a state, its 16 channels as rows: element e of fragment (m, j) is at channel
/// 2 g + e / 2 of them and row 16 m + 4 t + 2 (e % 2) + j of the state.
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

/// The lane's part of a right factor of 16 inner indices: a column's numbers at the lane's four,
/// 2t, 2t + 1, 2t + 8, 2t + 9.
template <Product P>
struct SsdRight {
  std::uint32_t bits[4];

  SsdRight() = default;
  explicit __device__ SsdRight(const float (&x)[4]) {
    if constexpr (P == Product::bf16) {
      bits[0] = bf16_bits(x[0], x[1]);
      bits[1] = bf16_bits(x[2], x[3]);
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j)
        bits[j] = P == Product::fp32 ? __float_as_uint(x[j]) : tf32_bits(x[j]);
    }
  }
};

/// 16 channels of 16 tokens, inner indices, as a left factor whose rows g and g + 8 are channels 2g
/// and 2g + 1: in pairs as they lie in rows that are kSsdStride apart, not rounded (`cut`).
template <Product P>
class SsdChannels {
 public:
  explicit __device__ SsdChannels(const float* rows) {
    const float* const from = rows + 2 * lane_column() * kSsdStride + 2 * lane_row();
    float2 x[4];
#pragma unroll
    for (int j = 0; j < 4; ++j)
      x[j] = *reinterpret_cast<const float2*>(from + (j / 2 * 8 + j % 2) * kSsdStride);
#pragma unroll
    for (int j = 0; j < 4; j += 2)
      if constexpr (P == Product::bf16) {
        bits_[0][j] = bf16_bits(x[j].x, x[j + 1].x);
        bits_[0][j + 1] = bf16_bits(x[j].y, x[j + 1].y);
      } else {
        bits_[j / 2][0] = __float_as_uint(x[j].x);
        bits_[j / 2][1] = __float_as_uint(x[j].y);
        bits_[j / 2][2] = __float_as_uint(x[j + 1].x);
        bits_[j / 2][3] = __float_as_uint(x[j + 1].y);
      }
  }

  __device__ void add_to(float (&c)[4], const SsdRight<P>& right) const {
    if constexpr (P == Product::bf16) {
      mma_bf16(c, bits_[0], {right.bits[0], right.bits[1]});
    } else {
      mma_tf32(c, bits_[0], {right.bits[0], right.bits[1]});
      mma_tf32(c, bits_[1], {right.bits[2], right.bits[3]});
    }
  }

 private:
  std::uint32_t bits_[2][4];
};

/// 16 weights each of a warp's 16 tokens: made of two neighbouring fragments, tokens as their rows
/// and inner indices as their columns.
template <Product P>
class SsdWeights {
 public:
  explicit __device__ SsdWeights(const float (&w)[2][4]) {
#pragma unroll
    for (int n = 0; n < 2; ++n)
      tokens_[n] = SsdRight<P>({w[0][2 * n], w[0][2 * n + 1], w[1][2 * n], w[1][2 * n + 1]});
  }

  /// sums += Σ_k weights[token][k] rows[k][channel].
  __device__ void add_product(SsdSums& sums, const float* rows) const {
    if constexpr (P == Product::fp32) {
      add_plain(sums, rows);
    } else {
#pragma unroll
      for (int m = 0; m < kSsdChannels / 16; ++m) {
        const SsdChannels<P> left(rows + 16 * m);
#pragma unroll
        for (int n = 0; n < 2; ++n)
          left.add_to(sums[m][n], tokens_[n]);
      }
    }
  }

 private:
  /// Without tensor cores.
  __device__ void add_plain(SsdSums& sums, const float* rows) const {
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      const auto weight = [&](int n, int e) {  // of token 8 n + 2 t + e
        const int lane = 4 * (2 * lane_column() + e) + k % 8 / 2;
        return __uint_as_float(__shfl_sync(0xffffffffu, tokens_[n].bits[k / 8 * 2 + k % 2], lane));
      };
      const float weights[2][2] = {{weight(0, 0), weight(0, 1)}, {weight(1, 0), weight(1, 1)}};
#pragma unroll
      for (int m = 0; m < kSsdChannels / 16; ++m) {
        const float2 x =
            *reinterpret_cast<const float2*>(rows + k * kSsdStride + 16 * m + 2 * lane_row());
#pragma unroll
        for (int n = 0; n < 2; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            sums[m][n][e] += weights[n][e] * x.x;
            sums[m][n][e + 2] += weights[n][e] * x.y;
          }
      }
    }
  }

  SsdRight<P> tokens_[2];  // g and g + 8
};

/// sums += factor Σ_n rows[token][n] state[n][channel] of a warp's 16 tokens.
template <Product P, int N>
__device__ inline void ssd_state_product(SsdSums& sums, float factor, const float* rows,
                                         const SsdState<N>& state) {
  const float *upper = rows + lane_row() * (N + kSsdPad) + 2 * lane_column(),
              *lower = upper + 8 * (N + kSsdPad);
#pragma unroll
  for (int n = 0; n < N; n += 16) {
    float weights[2][4];
#pragma unroll
    for (int h = 0; h < 2; ++h)
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        const float2 two = *reinterpret_cast<const float2*>((e == 0 ? upper : lower) + n + 8 * h);
        weights[h][e] = factor * two.x;
        weights[h][e + 1] = factor * two.y;
      }
    SsdWeights<P>(weights).add_product(sums, state[n]);
  }
}

/// Sums of a warp's tokens times a factor for each, factors[0] to [15].
__device__ inline void ssd_scale(SsdSums& sums, const float* factors) {
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    const float2 two = *reinterpret_cast<const float2*>(factors + 8 * n + 2 * lane_column());
#pragma unroll
    for (int m = 0; m < kSsdChannels / 16; ++m)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        sums[m][n][e] *= e % 2 == 0 ? two.x : two.y;
  }
}

/// state = over · state + Σ_k f[k] rows[k] tokens[k]ᵀ over a chunk's tokens: the warp's fragments.
template <Product P, int N>
__device__ void ssd_advance(float over, const float* f, const SsdStateRows<N>& rows,
                            const SsdTokens& tokens, SsdStateFragments<N>& state) {
  const int channel = static_cast<int>(threadIdx.x) / 32 * 16;
#pragma unroll
  for (int m = 0; m < N / 16; ++m)
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        state[m][j][e] *= over;
  if constexpr (P == Product::fp32) {
#pragma unroll 4
    for (int k = 0; k < kSsdChunk; ++k) {
      const float2 x = *reinterpret_cast<const float2*>(&tokens[k][channel + 2 * lane_row()]);
#pragma unroll
      for (int m = 0; m < N / 16; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float factor = f[k] * rows[k][16 * m + 4 * lane_column() + i];
          state[m][i % 2][i / 2] += factor * x.x;
          state[m][i % 2][i / 2 + 2] += factor * x.y;
        }
    }
  } else {
#pragma unroll
    for (int k = 0; k < kSsdChunk; k += 16) {
      const SsdChannels<P> left(&tokens[k][channel]);
      const int first = k + 2 * lane_column();
      const float2 upper = *reinterpret_cast<const float2*>(f + first);
      const float2 lower = *reinterpret_cast<const float2*>(f + first + 8);
      const float factors[4] = {upper.x, upper.y, lower.x, lower.y};
#pragma unroll
      for (int m = 0; m < N / 16; ++m) {
        float right[2][4];  // of states 2g and 2g + 1
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float2 two = *reinterpret_cast<const float2*>(
              &rows[first + i / 2 * 8 + i % 2][16 * m + 2 * lane_row()]);
          right[0][i] = factors[i] * two.x;
          right[1][i] = factors[i] * two.y;
        }
#pragma unroll
        for (int j = 0; j < 2; ++j)
          left.add_to(state[m][j], SsdRight<P>(right[j]));
      }
    }
  }
}

/// body(m, j, e, n, p): elements e and e + 2 of the warp's fragment (m, j) are at row n and
/// channels p and p + 1 of the state.
template <int N, class Body>
__device__ inline void ssd_for_state(const Body& body) {
  const int channel = static_cast<int>(threadIdx.x) / 32 * 16 + 2 * lane_row();
#pragma unroll
  for (int m = 0; m < N / 16; ++m)
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        body(m, j, e, 16 * m + 4 * lane_column() + 2 * e + j, channel);
}

/// The warp's part of a state from where ssd_store_state left it.
template <int N>
__device__ inline void ssd_load_state(const SsdState<N>& from, SsdStateFragments<N>& state) {
  ssd_for_state<N>([&](int m, int j, int e, int n, int p) {
    const float2 two = *reinterpret_cast<const float2*>(&from[n][p]);
    state[m][j][e] = two.x;
    state[m][j][e + 2] = two.y;
  });
}

/// The warp's part of a state to rows that are `stride` apart, or that rounded to tf32.
template <int N, bool kRounded = false>
__device__ inline void ssd_store_state(const SsdStateFragments<N>& state, float* to, int stride) {
  ssd_for_state<N>([&](int m, int j, int e, int n, int p) {
    float2 two = make_float2(state[m][j][e], state[m][j][e + 2]);
    if constexpr (kRounded)
      two = make_float2(__uint_as_float(tf32_bits(two.x)), __uint_as_float(tf32_bits(two.y)));
    *reinterpret_cast<float2*>(to + n * stride + p) = two;
  });
}

}  // namespace recallbench
