#pragma once

// What the forward and the backward kernel of delta_rule share. A block has one (replica, example,
// head) and `kCols` columns of its values: given q, k, β and the decays, columns of the state do
// not meet. Notation as in chunked_cpu.cpp. In shared memory rows are 4 numbers longer than a
// multiple of 16, tokens beyond the last and columns beyond dk and dv are zero. Half of the warps
// have the first 16 of the chunk's 32 rows, half the others; each has its part of the columns.

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/delta_rule/chunk.h"
#include "kernels/delta_rule/delta_rule_cuda.h"
#include "kernels/delta_rule/twin_products.cuh"

namespace recallbench {

constexpr int kDeltaRows = static_cast<int>(kDeltaRuleChunk);
constexpr int kDeltaThreads = 256;
constexpr int kDeltaTileStride = kDeltaRows + 4;  ///< of a tile [32, 32]
constexpr int kDeltaHalf = kDeltaRows / 2;
constexpr int kDeltaSecondBlock = kDeltaHalf * (kDeltaTileStride + 1);  ///< of the diagonal
constexpr Index kDeltaMostKeys = 256;

/// What a block is compiled for: `Keys` of a head rounded up to a multiple of 16, or 0 where only
/// the rule says how many; `Cols` columns of the values.
template <int Keys, int Cols>
struct DeltaShape {
  static constexpr int kKeys = Keys, kCols = Cols;
  static constexpr int kStride = Cols + 4;  ///< of rows of `Cols` columns
  static constexpr int kWarps = Cols == 128 ? 16 : Keys == 32 ? 4 : 8;  ///< of a block
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kTiles = kWarps == 4 ? 2 : 1;  ///< fragments of a tile [32, 32] of a warp
  static constexpr int kParts = kWarps / 2;           ///< of the columns of a product
  static constexpr int kFragments = Cols / (8 * kParts);  ///< of a part of `Cols` columns
  static constexpr int kForwardBlocks = Cols == 128 ? 1 : kWarps == 4 ? 4 : 3;  ///< of an SM
  static constexpr int kBackwardBlocks = Cols == 128 ? 1 : Cols == 64 ? 2 : kWarps == 4 ? 4 : 3;

  /// Whether work is split finer, so that every warp has some.
  static constexpr bool few_keys(int padded) { return Keys == 0 && padded <= 32; }
};

inline int delta_padded(Index keys) {
  return static_cast<int>(keys + 15) / 16 * 16;
}
/// Whether blocks have 128 columns of 128 keys: one to a multiprocessor, with all of its shared
/// memory, where it has as much as compute 9.0 has.
inline bool delta_wide(const DeltaRuleCuda& rule) {
  return delta_padded(rule.keys) == 128 && rule.values > 64 && cuda_shared_limit() >= 227 * 1024;
}
/// Columns of the values that a block takes: fewer where keys are long, to fit in shared memory.
inline int delta_columns(const DeltaRuleCuda& rule) {
  return rule.values <= 32 || rule.keys > 128 ? 32 : delta_wide(rule) ? 128 : 64;
}
inline Index delta_tiles(const DeltaRuleCuda& rule) {
  return (rule.values + delta_columns(rule) - 1) / delta_columns(rule);
}
/// body(DeltaShape) for the shape that fits the rule.
template <class Body>
inline void delta_with_shape(const DeltaRuleCuda& rule, const Body& body) {
  switch (delta_columns(rule)) {
    case 32:
      return delta_padded(rule.keys) == 32 ? body(DeltaShape<32, 32>{}) : body(DeltaShape<0, 32>{});
    case 128:
      return body(DeltaShape<128, 128>{});
    default:
      return delta_padded(rule.keys) == 64 ? body(DeltaShape<64, 64>{}) : body(DeltaShape<0, 64>{});
  }
}

/// Where a block works.
template <class Shape>
struct DeltaPlace {
  Index tile, replica, row;  ///< `row`: the example's first token
  Index example;
  int head, keys, padded, key_stride, first_column, columns, length;

  __device__ DeltaPlace(const DeltaRuleCuda& rule, Index tiles)
      : tile(blockIdx.x % tiles),
        head(static_cast<int>(blockIdx.x / tiles % rule.heads)),
        keys(static_cast<int>(rule.keys)),
        padded(Shape::kKeys > 0 ? Shape::kKeys : (keys + 15) / 16 * 16),
        key_stride(padded + 4),
        first_column(static_cast<int>(tile) * Shape::kCols),
        columns(min(Shape::kCols, static_cast<int>(rule.values) - first_column)),
        length(static_cast<int>(rule.length)) {
    const Index pair = blockIdx.x / tiles / rule.heads;
    replica = pair / rule.examples;
    example = pair % rule.examples;
    row = example * rule.length;
  }

  __device__ bool few_keys() const { return Shape::few_keys(padded); }
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
template <class Shape>
struct DeltaMemory {
  static constexpr int kStride = Shape::kStride;

  double* sums;                 // Γ: differences of large sums stay exact
  float *beta, *since, *until;  // β, e^Γ, e^(Γ_C - Γ)
  float *q, *k;                 // [32, dk]
  float *overlaps, *scores;     // N, A
  float *first, *second;        // X, in place of N unless a kernel says otherwise
  float *state, *updates;       // S [dk, kCols]; V, E before its system, at last U [32, kCols]
  float* next;

  __device__ DeltaMemory(float* memory, const DeltaPlace<Shape>& at) : next(memory) {
    sums = reinterpret_cast<double*>(take(2 * kDeltaRows));
    beta = take(kDeltaRows);
    since = take(kDeltaRows);
    until = take(kDeltaRows);
    q = take(kDeltaRows * at.key_stride);
    k = take(kDeltaRows * at.key_stride);
    overlaps = take(kDeltaRows * kDeltaTileStride);
    scores = take(kDeltaRows * kDeltaTileStride);
    state = take(at.padded * kStride);
    first = overlaps;
    second = overlaps + kDeltaSecondBlock;
    updates = take(kDeltaRows * kStride);
  }
  __device__ float* take(int numbers) {
    float* const taken = next;
    next += numbers;
    return taken;
  }
  /// Numbers of these parts.
  static int numbers(Index keys) {
    const int padded = delta_padded(keys);
    return kDeltaRows * (5 + 2 * (padded + 4) + 2 * kDeltaTileStride + kStride) + padded * kStride;
  }

  __device__ float decay(int i, int j) const { return expf(static_cast<float>(sums[i] - sums[j])); }
  /// e^(Γ_C): what is left of a state after the chunk.
  __device__ float whole() const { return since[kDeltaRows - 1]; }
};

/// to[i][j] = from[i][j] for i < most and j < width (a multiple of 4), zero beyond `rows` and
/// `cols`, 16 bytes at a time where addresses allow it. Ends no group of copies.
template <int Threads = kDeltaThreads>
__device__ inline void delta_copy(float* to, int to_stride, int most, int width, const float* from,
                                  Index stride, int rows, int cols) {
  const int mine = static_cast<int>(threadIdx.x);
  const bool wide = reinterpret_cast<std::uintptr_t>(from) % 16 == 0 && stride % 4 == 0;
  const int lanes = wide && cols % 4 == 0 ? 16 : 32, step = Threads / lanes;
  const int first = mine / lanes, each = lanes == 16 ? 4 : 1;
  for (int j = mine % lanes * each; j < width; j += lanes * each) {
    float* place = to + first * to_stride + j;
    const float* source = from + first * stride + j;
    const int inside = j < cols ? min(rows, most) : 0;
    int i = first;
    if (lanes == 16) {
      for (; i < inside; i += step, place += step * to_stride, source += step * stride)
        copy_async<16>(place, source);
      for (; i < most; i += step, place += step * to_stride)
        *reinterpret_cast<float4*>(place) = make_float4(0, 0, 0, 0);
    } else {
      for (; i < inside; i += step, place += step * to_stride, source += step * stride)
        copy_async<4>(place, source);
      for (; i < most; i += step, place += step * to_stride)
        *place = 0;
    }
  }
}

/// The same where shapes are known: whole rows in steps of all threads, unless addresses or `cols`
/// forbid it.
template <int Threads, int Most, int Width>
__device__ inline void delta_copy_known(float* to, const float* from, Index stride, int rows,
                                        int cols) {
  constexpr int kQuads = Width / 4, kStep = Threads / kQuads, kStride = Width + 4;
  if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0 || stride % 4 != 0 || cols != Width)
    return delta_copy<Threads>(to, kStride, Most, Width, from, stride, rows, cols);
  const int first = static_cast<int>(threadIdx.x) / kQuads;
  const int j = static_cast<int>(threadIdx.x) % kQuads * 4;
  float* const place = to + first * kStride + j;
  const float* source = from + first * stride + j;
#pragma unroll
  for (int i = 0; i < Most; i += kStep, source += kStep * stride)
    if (first + i < rows)
      copy_async<16>(place + i * kStride, source);
    else
      *reinterpret_cast<float4*>(place + i * kStride) = make_float4(0, 0, 0, 0);
}

/// Asks for [rows, cols] to be in the L2 cache when it is copied: lines of 32 numbers of rows of at
/// most Width, by `threads` threads of which this is `mine`.
template <int Width>
__device__ inline void delta_prefetch(int mine, int threads, const float* from, Index stride,
                                      int rows, int cols) {
  constexpr int kLines = Width / 32;
  const int j = mine % kLines * 32;
  if (j >= cols) return;
#pragma unroll 1
  for (int i = mine / kLines; i < rows; i += threads / kLines)
    copy_to_l2(from + i * stride + j);
}

/// delta_copy that has ended for this thread when it returns.
__device__ inline void delta_load(float* to, int to_stride, int most, int width, const float* from,
                                  Index stride, int rows, int cols) {
  delta_copy(to, to_stride, most, width, from, stride, rows, cols);
  copies_end_group();
  copies_wait<0>();
}

/// Numbers of [rows, cols] from shared memory, written or added by `Threads` threads, of which this
/// is `mine`.
template <int Threads>
__device__ inline void delta_store(int mine, const float* from, int from_stride, float* to,
                                   Index stride, int rows, int cols, bool accumulate) {
  const bool wide = reinterpret_cast<std::uintptr_t>(to) % 16 == 0 && stride % 4 == 0;
  if (wide && cols % 4 == 0) {
    for (int j = mine % 16 * 4; j < cols; j += 64)
      for (int i = mine / 16; i < rows; i += Threads / 16) {
        float4* const place = reinterpret_cast<float4*>(to + i * stride + j);
        float4 x = *reinterpret_cast<const float4*>(from + i * from_stride + j);
        if (accumulate) {
          const float4 y = *place;
          x = make_float4(x.x + y.x, x.y + y.y, x.z + y.z, x.w + y.w);
        }
        *place = x;
      }
    return;
  }
  for (int i = mine / 32; i < rows; i += Threads / 32)
    for (int j = mine % 32; j < cols; j += 32) {
      float& place = to[i * stride + j];
      const float x = from[i * from_stride + j];
      place = accumulate ? place + x : x;
    }
}

/// The scalars of one token of the chunk from token `first`, in a lane of the first warp.
struct DeltaScalars {
  float beta = 0, log_decay = 0;

  template <class Shape>
  __device__ DeltaScalars(const DeltaRuleCuda& rule, const DeltaPlace<Shape>& at, int first) {
    const int i = static_cast<int>(threadIdx.x);
    if (i >= at.count(first)) return;
    beta = rule.beta_scale;
    if (rule.beta.data != nullptr) beta *= *at.at(rule.beta, first + i, at.head);
    if (rule.log_decay.data != nullptr) log_decay = *at.at(rule.log_decay, first + i, at.head);
  }

  /// β, and the decays summed in double precision, into shared memory.
  template <class Shape>
  __device__ void spread(const DeltaMemory<Shape>& m) const {
    if (threadIdx.x >= 32) return;
    const int i = static_cast<int>(threadIdx.x);
    double sum = log_decay;
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
      const double before = __shfl_sync(0xffffffffu, sum, (i - offset) & 31);
      if (i >= offset) sum += before;
    }
    const double total = __shfl_sync(0xffffffffu, sum, 31);
    m.sums[i] = sum;
    m.beta[i] = beta;
    m.since[i] = expf(static_cast<float>(sum));
    m.until[i] = expf(static_cast<float>(total - sum));
  }
};

/// Starts to copy queries, keys or values of the chunk from token `first`.
template <class Shape>
__device__ inline void delta_copy_keys(const DeltaPlace<Shape>& at, float* to,
                                       const Batched<float>& from, int first) {
  const float* const source = at.at(from, first, Index{at.head} * at.keys);
  if constexpr (Shape::kKeys > 0)
    delta_copy_known<Shape::kThreads, kDeltaRows, Shape::kKeys>(to, source, from.stride,
                                                                at.count(first), at.keys);
  else
    delta_copy<Shape::kThreads>(to, at.key_stride, kDeltaRows, at.padded, source, from.stride,
                                at.count(first), at.keys);
}
template <class Shape>
__device__ inline void delta_copy_values(const DeltaRuleCuda& rule, const DeltaPlace<Shape>& at,
                                         float* to, const Batched<float>& from, int first) {
  delta_copy_known<Shape::kThreads, kDeltaRows, Shape::kCols>(
      to, at.at(from, first, at.head * rule.values + at.first_column), from.stride, at.count(first),
      at.columns);
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

/// Writes or adds fragments that begin at (row, column) to the same place of `to` [rows, cols]: 32
/// bytes of a row at a time.
template <int N>
__device__ inline void delta_write(const float (&c)[N][4], float* to, Index stride, int row,
                                   int column, int rows, int cols, bool accumulate) {
  const bool pairs = reinterpret_cast<std::uintptr_t>(to) % 8 == 0 && stride % 2 == 0;
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = row + lane_row() + 8 * half, j = column + 8 * n + 2 * lane_column();
      if (i >= rows || j >= cols) continue;
      float* const place = to + i * stride + j;
      float2 x{c[n][2 * half], c[n][2 * half + 1]};
      if (pairs && j + 1 < cols) {
        float2* const both = reinterpret_cast<float2*>(place);
        if (accumulate) x = make_float2(x.x + both->x, x.y + both->y);
        *both = x;
        continue;
      }
      place[0] = accumulate ? place[0] + x.x : x.x;
      if (j + 1 < cols) place[1] = accumulate ? place[1] + x.y : x.y;
    }
}

__device__ inline int delta_warp() {
  return static_cast<int>(threadIdx.x) / 32;
}
/// First of this warp's 16 rows.
template <class Shape>
__device__ inline int delta_warp_row() {
  return delta_warp() / Shape::kParts * 16;
}
/// First of this warp's columns.
template <class Shape>
__device__ inline int delta_warp_column() {
  return delta_warp() % Shape::kParts * (8 * Shape::kFragments);
}
/// The place of the warp's [16, 8 kTiles] in a tile [32, 32]; what has eight warps has all of it.
template <class Shape>
__device__ inline int delta_tile_row() {
  return delta_warp() % 8 / (4 / Shape::kTiles) * 16;
}
template <class Shape>
__device__ inline int delta_tile_column() {
  return delta_warp() % (4 / Shape::kTiles) * 8 * Shape::kTiles;
}

/// N and A. N, which the triangular systems are made of, is as good as float32 in every precision.
template <Product P, Product Exact, class Shape>
__device__ inline void delta_tiles_of_chunk(const DeltaPlace<Shape>& at,
                                            const DeltaMemory<Shape>& m, float scale) {
  constexpr int kTiles = Shape::kTiles;
  const int row = delta_tile_row<Shape>(), column = delta_tile_column<Shape>();
  const int stride = at.key_stride;
  const float *k = m.k + row * stride, *q = m.q + row * stride, *with = m.k + column * stride;
  constexpr bool kBoth = Shape::kWarps <= 8;
  const bool for_n = kBoth || delta_warp() < 8, for_a = kBoth || !for_n;
  float n[kTiles][4], a[kTiles][4];
  clear(n);
  clear(a);
  if (column < row + 16) {
    if constexpr (kBoth)
      delta_twin_rows<Exact, P>(n, k, a, q, stride, with, stride, at.padded);
    else if (for_n)
      delta_rows_by_halves<Exact>(n, k, stride, with, stride, at.padded);
    else
      delta_rows_by_halves<P>(a, q, stride, with, stride, at.padded);
  }
  delta_fragments<kTiles>(row, column, [&](int f, int e, int i, int j) {
    const float decay = j <= i ? m.decay(i, j) : 0.0f;
    if (for_n) m.overlaps[i * kDeltaTileStride + j] = j < i ? -decay * n[f][e] : 0.0f;
    if (for_a) m.scores[i * kDeltaTileStride + j] = j <= i ? scale * decay * a[f][e] : 0.0f;
  });
}

}  // namespace recallbench
