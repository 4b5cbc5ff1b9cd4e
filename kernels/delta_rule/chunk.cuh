#pragma once

// What the forward and the backward kernel of delta_rule share. A block has one (replica, example,
// head) and `Cols` columns of its values: given q, k, β and the decays, columns of the state do not
// meet. Notation as in chunked_cpu.cpp. In shared memory rows are 4 numbers longer than a multiple
// of 16, tokens beyond the last and columns beyond dk and dv are zero. A warp is one of eight: it
// has 16 of the chunk's 32 rows and a quarter of the columns of a tile.

#include "kernels/delta_rule/chunk.h"
#include "kernels/delta_rule/delta_rule_cuda.h"
#include "kernels/linear_attention/products.cuh"

namespace recallbench {

constexpr int kDeltaRows = static_cast<int>(kDeltaRuleChunk);
constexpr int kDeltaThreads = 256;
constexpr int kDeltaWarps = kDeltaThreads / 32;
constexpr int kDeltaTileStride = kDeltaRows + 4;  ///< of a tile [32, 32]
constexpr Index kDeltaMostKeys = 256;

/// Columns of the values that a block takes: fewer where keys are long, to fit in shared memory.
inline int delta_columns(const DeltaRuleCuda& rule) {
  return rule.values <= 32 || rule.keys > 128 ? 32 : 64;
}
inline Index delta_tiles(const DeltaRuleCuda& rule) {
  return (rule.values + delta_columns(rule) - 1) / delta_columns(rule);
}

/// Where a block works.
struct DeltaPlace {
  Index tile, replica, row;  ///< `row`: the example's first token
  Index example;
  int head, keys, padded, key_stride, first_column, columns, length;

  __device__ DeltaPlace(const DeltaRuleCuda& rule, Index tiles, int width)
      : tile(blockIdx.x % tiles),
        head(static_cast<int>(blockIdx.x / tiles % rule.heads)),
        keys(static_cast<int>(rule.keys)),
        padded((keys + 15) / 16 * 16),
        key_stride(padded + 4),
        first_column(static_cast<int>(tile) * width),
        columns(min(width, static_cast<int>(rule.values) - first_column)),
        length(static_cast<int>(rule.length)) {
    const Index pair = blockIdx.x / tiles / rule.heads;
    replica = pair / rule.examples;
    example = pair % rule.examples;
    row = example * rule.length;
  }

  __device__ int count(int first) const { return min(kDeltaRows, length - first); }
  __device__ float* at(const Batched<float>& m, int token, Index column) const {
    return m.data + replica * m.replica_stride + (row + token) * m.stride + column;
  }
  /// The state after `chunk`, at its first key and the block's first column.
  __device__ float* kept(const DeltaRuleCuda& rule, int chunk) const {
    const Batched<float>& m = rule.states;
    const Index chunks = (rule.length + kDeltaRuleChunk - 1) / kDeltaRuleChunk;
    return m.data + replica * m.replica_stride + (example * (chunks - 1) + chunk) * m.stride +
           head * rule.keys * rule.values + first_column;
  }
};

/// The parts of shared memory that both kernels have, and the rest of it from `next`.
template <int Cols>
struct DeltaMemory {
  static constexpr int kStride = Cols + 4;

  double* sums;                     // Γ: differences of large sums stay exact
  float *beta, *since, *until;      // β, e^Γ, e^(Γ_C - Γ)
  float *q, *k;                     // [32, dk]
  float *overlaps, *scores;         // N, A
  float *state, *errors, *updates;  // S [dk, Cols], E, U [32, Cols]
  float* next;

  __device__ DeltaMemory(float* memory, const DeltaPlace& at) : next(memory) {
    sums = reinterpret_cast<double*>(take(2 * kDeltaRows));
    beta = take(kDeltaRows);
    since = take(kDeltaRows);
    until = take(kDeltaRows);
    q = take(kDeltaRows * at.key_stride);
    k = take(kDeltaRows * at.key_stride);
    overlaps = take(kDeltaRows * kDeltaTileStride);
    scores = take(kDeltaRows * kDeltaTileStride);
    state = take(at.padded * kStride);
    errors = take(kDeltaRows * kStride);
    updates = take(kDeltaRows * kStride);
  }
  __device__ float* take(int numbers) {
    float* const taken = next;
    next += numbers;
    return taken;
  }
  /// Numbers of these parts.
  static int numbers(Index keys) {
    const int padded = static_cast<int>(keys + 15) / 16 * 16;
    return kDeltaRows * (5 + 2 * (padded + 4) + 2 * kDeltaTileStride + 2 * kStride) +
           padded * kStride;
  }

  __device__ float decay(int i, int j) const { return expf(static_cast<float>(sums[i] - sums[j])); }
  /// e^(Γ_C): what is left of a state after the chunk.
  __device__ float whole() const { return since[kDeltaRows - 1]; }
};

/// to[i][j] = from[i][j] for i < most and j < width (a multiple of 4), zero beyond `rows` and
/// `cols`, 16 bytes at a time where addresses allow it. Ends no group of copies.
__device__ inline void delta_copy(float* to, int to_stride, int most, int width, const float* from,
                                  Index stride, int rows, int cols) {
  const int lane = static_cast<int>(threadIdx.x);
  const bool wide = reinterpret_cast<std::uintptr_t>(from) % 16 == 0 && stride % 4 == 0;
  if (wide && cols % 4 == 0) {
    for (int i = lane / 16; i < most; i += kDeltaThreads / 16)
      for (int j = lane % 16 * 4; j < width; j += 64) {
        float* const place = to + i * to_stride + j;
        if (i < rows && j < cols)
          copy_async<16>(place, from + i * stride + j);
        else
          *reinterpret_cast<float4*>(place) = make_float4(0, 0, 0, 0);
      }
    return;
  }
  for (int i = lane / 32; i < most; i += kDeltaWarps)
    for (int j = lane % 32; j < width; j += 32) {
      float* const place = to + i * to_stride + j;
      if (i < rows && j < cols)
        copy_async<4>(place, from + i * stride + j);
      else
        *place = 0;
    }
}

/// delta_copy that has ended for this thread when it returns.
__device__ inline void delta_load(float* to, int to_stride, int most, int width, const float* from,
                                  Index stride, int rows, int cols) {
  delta_copy(to, to_stride, most, width, from, stride, rows, cols);
  copies_end_group();
  copies_wait<0>();
}

/// Keys, queries, values (into `errors`), β and decays of the chunk that begins at token `first`,
/// to be waited for.
template <int Cols>
__device__ inline void delta_load_chunk(const DeltaRuleCuda& rule, const DeltaPlace& at,
                                        const DeltaMemory<Cols>& m, int first) {
  const int count = at.count(first);
  delta_copy(m.q, at.key_stride, kDeltaRows, at.padded, at.at(rule.q, first, at.head * rule.keys),
             rule.q.stride, count, at.keys);
  delta_copy(m.k, at.key_stride, kDeltaRows, at.padded, at.at(rule.k, first, at.head * rule.keys),
             rule.k.stride, count, at.keys);
  delta_copy(m.errors, m.kStride, kDeltaRows, Cols,
             at.at(rule.v, first, at.head * rule.values + at.first_column), rule.v.stride, count,
             at.columns);
  if (threadIdx.x >= 32) return;
  const int i = static_cast<int>(threadIdx.x);
  double sum = 0;
  float strength = i < count ? rule.beta_scale : 0.0f;
  if (i < count && rule.log_decay.data != nullptr) sum = *at.at(rule.log_decay, first + i, at.head);
  if (i < count && rule.beta.data != nullptr) strength *= *at.at(rule.beta, first + i, at.head);
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const double before = __shfl_sync(0xffffffffu, sum, (i - offset) & 31);
    if (i >= offset) sum += before;
  }
  const double total = __shfl_sync(0xffffffffu, sum, 31);
  m.sums[i] = sum;
  m.beta[i] = strength;
  m.since[i] = expf(static_cast<float>(sum));
  m.until[i] = expf(static_cast<float>(total - sum));
}

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

/// body(n, e, row, column) for every number c[n][e] of the lane's in fragments that begin at
/// (row, column).
template <int N, class Body>
__device__ inline void delta_fragments(int row, int column, const Body& body) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e)
      body(n, e, row + lane_row() + e / 2 * 8, column + 8 * n + 2 * lane_column() + e % 2);
}

__device__ inline int delta_warp_row() {
  return static_cast<int>(threadIdx.x) / 128 * 16;
}
/// First of the `width` columns of this warp's quarter.
__device__ inline int delta_warp_column(int width) {
  return static_cast<int>(threadIdx.x) / 32 % 4 * width;
}

/// N and A. N, which the triangular systems are made of, is as good as float32 in every precision.
template <Product P, Product Exact, int Cols>
__device__ inline void delta_tiles_of_chunk(const DeltaPlace& at, const DeltaMemory<Cols>& m,
                                            float scale) {
  const int row = delta_warp_row(), column = delta_warp_column(8), stride = at.key_stride;
  float n[1][4], a[1][4];
  clear(n);
  clear(a);
  if (column < row + 16) {
    rows_product<Exact, 1>(n, m.k + row * stride, stride, m.k + column * stride, stride, at.padded);
    rows_product<P, 1>(a, m.q + row * stride, stride, m.k + column * stride, stride, at.padded);
  }
  delta_fragments<1>(row, column, [&](int, int e, int i, int j) {
    const float decay = j <= i ? m.decay(i, j) : 0.0f;
    m.overlaps[i * kDeltaTileStride + j] = j < i ? -decay * n[0][e] : 0.0f;
    m.scores[i * kDeltaTileStride + j] = j <= i ? scale * decay * a[0][e] : 0.0f;
  });
}

/// E and U of one column, row by row: store(j, E_j, U_j).
template <int Cols, class Store>
__device__ inline void delta_solve(const DeltaMemory<Cols>& m, int column, const Store& store) {
  float e[kDeltaRows];
#pragma unroll
  for (int i = 0; i < kDeltaRows; ++i)
    e[i] = m.errors[i * m.kStride + column];
#pragma unroll
  for (int j = 0; j < kDeltaRows; ++j) {
    const float u = m.beta[j] * e[j];
    store(j, e[j], u);
#pragma unroll
    for (int i = j + 1; i < kDeltaRows; ++i)
      e[i] += m.overlaps[i * kDeltaTileStride + j] * u;
  }
}

}  // namespace recallbench
