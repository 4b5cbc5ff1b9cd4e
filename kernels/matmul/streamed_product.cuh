#pragma once

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/tensor_cores.cuh"
#include "kernels/matmul/streamed_product_cuda.h"

// Pieces of the kernels of streamed_product_cuda.cu: a warp multiplies 32 rows, a chunk of 16 inner
// numbers at a time. With g = lane / 4 and t = lane % 4, a lane takes of rows g, g + 8, g + 16 and
// g + 24 the four numbers 4t ... of a chunk, one load of 16 bytes each. Tensor cores would have
// them as t, t + 4, ...: the order within a chunk is ours, as long as both operands have the same.
// Columns likewise: of a pair of tiles of 8 columns a lane holds columns 4t ... 4t + 3 of 16, one
// store of 16 bytes a row.

namespace recallbench::streamed {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kRows = 32;   // of a tile, which one warp multiplies
constexpr int kChunk = 16;  // inner numbers
constexpr int kPair = 16;   // columns of two tiles

struct Launch {
  StreamedProduct p;
  int in, out;
  int chunks;       // of `in`
  int pairs;        // of tiles, of `out`
  unsigned blocks;  // of one replica
  bool weight_quads;
  bool quads;  // rows of c can be written in pieces of four numbers
};

/// How a lane's four numbers of a chunk are rounded: four words in tf32, two in bf16.
template <Precision kPrecision>
struct Rounded {
  static constexpr bool kBf16 = kPrecision == Precision::bf16;
  static constexpr int kWords = kBf16 ? 2 : 4;

  __device__ static void round(const float (&from)[4], std::uint32_t (&to)[kWords]) {
    if constexpr (kBf16) {
      to[0] = bf16_bits(from[0], from[1]);
      to[1] = bf16_bits(from[2], from[3]);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        to[i] = tf32_bits(from[i]);
    }
  }
  /// sum [16, 8] += rows g and g + 8 of a chunk · a fragment of the weight.
  __device__ static void multiply(const std::uint32_t (&low)[kWords],
                                  const std::uint32_t (&high)[kWords],
                                  const std::uint32_t (&b)[kWords], float (&sum)[4]) {
    if constexpr (kBf16) {
      mma_bf16(sum, {low[0], high[0], low[1], high[1]}, {b[0], b[1]});
    } else {
      mma_tf32(sum, {low[0], high[0], low[1], high[1]}, {b[0], b[1]});
      mma_tf32(sum, {low[2], high[2], low[3], high[3]}, {b[2], b[3]});
    }
  }
  /// A lane's part of a fragment [16, 8]: lanes side by side, so that no two meet in a bank.
  __device__ static void load(const std::uint32_t* fragment, std::uint32_t (&to)[kWords]) {
    if constexpr (kBf16) {
      const uint2 two = *reinterpret_cast<const uint2*>(fragment);
      to[0] = two.x, to[1] = two.y;
    } else {
      const uint4 four = *reinterpret_cast<const uint4*>(fragment);
      to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
    }
  }
  __device__ static void store(const std::uint32_t (&from)[kWords], std::uint32_t* fragment) {
    if constexpr (kBf16)
      *reinterpret_cast<uint2*>(fragment) = {from[0], from[1]};
    else
      *reinterpret_cast<uint4*>(fragment) = {from[0], from[1], from[2], from[3]};
  }
};

/// Four numbers of a row of which `left` are there; zeros for the others.
template <bool kQuads>
__device__ inline void load_quad(const float* from, int left, float (&to)[4]) {
  if constexpr (kQuads) {
    if (left > 0) {
      load_numbers(from, to);
    } else {
      to[0] = to[1] = to[2] = to[3] = 0;
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      to[i] = i < left ? from[i] : 0;
  }
}

/// The weight, rounded, in fragments, the bias behind it. Fragment f is that of chunk f / kTiles
/// and tile f mod kTiles; in it a lane's words lie side by side. Zeros past the matrix. All
/// threads.
template <Precision kPrecision, int kTiles>
__device__ void keep_weight(const Launch& l, Index replica, std::uint32_t* to) {
  using R = Rounded<kPrecision>;
  constexpr int kAtOnce = 8;  // fragments of a warp under way
  const StreamedProduct& p = l.p;
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  const float* weight = p.weight.data + replica * p.weight.replica_stride;
  const int stride = static_cast<int>(p.weight.stride);
  const int fragments = kTiles * l.chunks;
  for (int begin = threadIdx.x / 32; begin < fragments; begin += kAtOnce * kWarps) {
    float quads[kAtOnce][4];
#pragma unroll
    for (int n = 0; n < kAtOnce; ++n) {
      const int f = begin + n * kWarps;
      const int chunk = f / kTiles, tile = f % kTiles;
      const int k = chunk * kChunk + 4 * t;
      const int column = tile / 2 * kPair + tile % 2 * 2 + g / 2 * 4 + g % 2;
      const int there = f < fragments && column < l.out ? l.in - k : 0;
      if (p.transposed) {
        const float* from = weight + k * stride + column;
#pragma unroll
        for (int m = 0; m < 4; ++m)
          quads[n][m] = m < there ? from[m * stride] : 0;
      } else {
        const float* from = weight + column * stride + k;
        if (l.weight_quads)
          load_quad<true>(from, there, quads[n]);
        else
          load_quad<false>(from, there, quads[n]);
      }
    }
#pragma unroll
    for (int n = 0; n < kAtOnce; ++n) {
      const int f = begin + n * kWarps;
      if (f >= fragments) break;
      std::uint32_t words[R::kWords];
      R::round(quads[n], words);
      R::store(words, to + (f * 32 + lane) * R::kWords);
    }
  }
  float* const bias = reinterpret_cast<float*>(to + fragments * 32 * R::kWords);
  for (int i = threadIdx.x; i < l.pairs * kPair; i += kThreads)
    bias[i] =
        p.bias.data != nullptr && i < l.out ? p.bias.data[replica * p.bias.replica_stride + i] : 0;
  __syncthreads();
}

/// Bytes of what keep_weight leaves.
template <Precision kPrecision>
constexpr std::size_t kept_bytes(int chunks, int pairs) {
  return (std::size_t{64} * chunks * Rounded<kPrecision>::kWords + kPair) * pairs * 4;
}

/// The product of a tile of rows with kPairs pairs of tiles. `c` is where its first number goes.
/// kQuads: pieces of four numbers, always.
template <int kPairs, bool kQuads>
struct Sums {
  float at[2][2 * kPairs][4];  // rows 16i ..., tile

  /// The bias; with `accumulate` what c holds, too.
  __device__ void begin(const Launch& l, const float* bias, const float* c, int rows) {
    const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      float four[4];
      load_numbers(bias + pair * kPair + 4 * t, four);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int m = 0; m < 4; ++m)
          number(pair, i, m) = four[m];
    }
    if (!l.p.accumulate) return;
    each_quad(l, c, rows, [&](int pair, int i, const float* from, int there) {
      float four[4] = {};
      if (kQuads || l.quads) {
        load_numbers(from, four);
      } else {
#pragma unroll
        for (int m = 0; m < 4; ++m)
          if (m < there) four[m] = from[m];
      }
#pragma unroll
      for (int m = 0; m < 4; ++m)
        number(pair, i, m) += four[m];
    });
  }
  __device__ void store(const Launch& l, float* c, int rows) {
    each_quad(l, c, rows, [&](int pair, int i, float* to, int there) {
      const float four[4] = {number(pair, i, 0), number(pair, i, 1), number(pair, i, 2),
                             number(pair, i, 3)};
      if (kQuads || l.quads) {
        store_numbers(four, to);
      } else {
#pragma unroll
        for (int m = 0; m < 4; ++m)
          if (m < there) to[m] = four[m];
      }
    });
  }

 private:
  /// Number m of a lane's quad in row g + 8i of a pair.
  __device__ float& number(int pair, int i, int m) {
    return at[i / 2][2 * pair + m / 2][i % 2 * 2 + m % 2];
  }
  /// f(pair, i, place, columns there) for every quad of this lane that begins within c.
  template <class T, class F>
  __device__ static void each_quad(const Launch& l, T* c, int rows, const F& f) {
    const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
    T* at = c + g * l.p.c.stride + 4 * t;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (g + 8 * i < rows) {
#pragma unroll
        for (int pair = 0; pair < kPairs; ++pair)
          if (pair * kPair + 4 * t < l.out)
            f(pair, i, at + pair * kPair, l.out - pair * kPair - 4 * t);
      }
      at += 8 * l.p.c.stride;
    }
  }
};

}  // namespace recallbench::streamed
