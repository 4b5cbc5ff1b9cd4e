#pragma once

// What the forward and the backward kernel of gated_linear_attention share, in the notation of
// chunked_cpu.cpp, with chunks of 16 tokens. A block has one (replica, example, state head) and
// columns of its values, which do not meet in the state. It goes by steps: a chunk for one of the
// query heads that read the state; the next step's rows are under way meanwhile, in the other of
// two stages. In shared memory rows are 4 numbers longer than a multiple of 16; tokens beyond the
// last and columns beyond K and V are zero, their decays 1.

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/delta_rule/chunk.cuh"
#include "kernels/gated_linear_attention/gated_linear_attention_cuda.h"

namespace recallbench {

constexpr int kGatedRows = 16;
constexpr int kGatedTileStride = kGatedRows + 4;
constexpr int kGatedMostKeys = 256;

/// The most keys of a block and its columns of the values; its warps, each of which has
/// `kFragments` times eight of the columns.
template <int Keys, int Cols, int Warps>
struct GatedTile {
  static constexpr int kKeys = Keys, kCols = Cols, kWarps = Warps, kThreads = 32 * Warps;
  static constexpr int kKeyStride = Keys + 4, kStride = Cols + 4;
  static constexpr int kFragments = (Cols / 8 + Warps - 1) / Warps;
};

inline int gated_columns(const GatedLinearAttentionCuda& in) {
  return in.keys > 128 || (in.keys <= 16 && in.values <= 32) ? 32 : 64;
}
inline Index gated_tiles(const GatedLinearAttentionCuda& in) {
  return (in.values + gated_columns(in) - 1) / gated_columns(in);
}
inline Index gated_chunks(Index length) {
  return (length + kGatedRows - 1) / kGatedRows;
}

/// body(tile) with the GatedTile that suits; its columns are gated_columns(in).
template <class Body>
void gated_dispatch(const GatedLinearAttentionCuda& in, const Body& body) {
  if (in.keys <= 16 && in.values <= 32)
    body(GatedTile<16, 32, 4>{});
  else if (in.keys <= 32)
    body(GatedTile<32, 64, 4>{});
  else if (in.keys <= 64)
    body(GatedTile<64, 64, 8>{});
  else if (in.keys <= 128)
    body(GatedTile<128, 64, 8>{});
  else
    body(GatedTile<kGatedMostKeys, 32, 8>{});
}

__device__ inline int gated_lane() {
  return static_cast<int>(threadIdx.x) % 32;
}
__device__ inline int gated_warp() {
  return static_cast<int>(threadIdx.x) / 32;
}

/// Where a block works.
struct GatedPlace {
  Index tile, item, replica, row;  ///< `item`: of all replicas; `row`: the example's first token
  int head, group, keys, values, first_column, columns, length;

  __device__ GatedPlace(const GatedLinearAttentionCuda& in, Index tiles, int width)
      : tile(blockIdx.x % tiles),
        item(blockIdx.x / tiles),
        head(static_cast<int>(item % in.state_heads)),
        group(static_cast<int>(in.heads / in.state_heads)),
        keys(static_cast<int>(in.keys)),
        values(static_cast<int>(in.values)),
        first_column(static_cast<int>(tile) * width),
        columns(min(width, values - first_column)),
        length(static_cast<int>(in.length)) {
    const Index pair = item / in.state_heads;
    replica = pair / in.examples;
    row = pair % in.examples * in.length;
  }

  __device__ int count(int first) const { return min(kGatedRows, length - first); }
  __device__ int chunks() const { return (length + kGatedRows - 1) / kGatedRows; }
  __device__ float* at(const Batched<float>& m, int token, Index column) const {
    return m.data + replica * m.replica_stride + (row + token) * m.stride + column;
  }
  /// First columns of the keys, and of the block's values, of the state head or of one of the
  /// group's query heads.
  __device__ Index key_column() const { return Index{head} * keys; }
  __device__ Index value_column() const { return Index{head} * values + first_column; }
  __device__ Index query_column(int h) const { return (Index{head} * group + h) * keys; }
  __device__ Index output_column(int h) const {
    return (Index{head} * group + h) * values + first_column;
  }
};

/// Rows of a step as loaded: scale q, k, e^g [16, K]; v or do [16, Cols].
struct GatedStage {
  float *q, *k, *a, *values;
};

/// The parts of shared memory that both kernels have, and the rest of it from `next`.
template <class Tile>
struct GatedMemory {
  float* stages;
  float *faded_q, *faded_k, *last;  // scale q ⊙ P, k ⊙ U [16, K], P_last [K]
  float *weights, *state;           // A [16, 16], S [K, Cols]
  float* next;

  static constexpr int kRows = kGatedRows * Tile::kKeyStride;
  static constexpr int kStage = 3 * kRows + kGatedRows * Tile::kStride;

  __device__ GatedMemory(float* memory, int stage_count)
      : stages(memory), next(memory + stage_count * kStage) {
    faded_q = take(kRows);
    faded_k = take(kRows);
    last = take(Tile::kKeys);
    weights = take(kGatedRows * kGatedTileStride);
    state = take(Tile::kKeys * Tile::kStride);
  }
  __device__ float* take(int numbers) {
    float* const taken = next;
    next += numbers;
    return taken;
  }
  __device__ GatedStage stage(int i) const {
    float* const q = stages + i * kStage;
    return {q, q + kRows, q + 2 * kRows, q + 3 * kRows};
  }
  static constexpr int numbers(int stage_count) {
    return stage_count * kStage + 2 * kRows + Tile::kKeys + kGatedRows * kGatedTileStride +
           Tile::kKeys * Tile::kStride;
  }
};

/// body(first + n · Step) for n = 0, 1, ... as long as that is below Count, with first < Step: the
/// compiler sees how many there are.
template <int Count, int Step, class Body>
__device__ inline void gated_strided(int first, const Body& body) {
#pragma unroll(Count / Step > 4 ? 2 : 4)
  for (int n = 0; n < (Count + Step - 1) / Step; ++n)
    if (Count % Step == 0 || first + n * Step < Count) body(first + n * Step);
}

/// body(row, column) for each four neighbours, from `column` on, of [Rows, Width] that are this
/// thread's to load.
template <class Tile, int Rows, int Width, class Body>
__device__ inline void gated_own_quads(const Body& body) {
  constexpr int kLanes = Tile::kThreads / kGatedRows;
  const int thread = static_cast<int>(threadIdx.x);
  gated_strided<Rows, kGatedRows>(thread / kLanes, [&](int i) {
    gated_strided<Width, 4 * kLanes>(thread % kLanes * 4, [&](int j) { body(i, j); });
  });
}

/// to[i][j] = from[i][j] for i < Rows and j < Width, zero beyond `rows` and `cols`; the copies
/// belong to the thread's open group.
template <class Tile, int Rows, int Width>
__device__ inline void gated_copy(float* to, const float* from, Index stride, int rows, int cols) {
  const bool wide = reinterpret_cast<std::uintptr_t>(from) % 16 == 0 && stride % 4 == 0;
  gated_own_quads<Tile, Rows, Width>([&](int i, int j) {
    float* const place = to + i * (Width + 4) + j;
    const float* const source = from + i * stride + j;
    if (wide && i < rows && j + 4 <= cols) {
      copy_async<16>(place, source);
      return;
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (i < rows && j + e < cols)
        copy_async<4>(place + e, source + e);
      else
        place[e] = 0;
    }
  });
}

/// Begins to load k, g, and the queries of head h where they are wanted, from token `first`.
template <class Tile, bool kQueries>
__device__ inline void gated_begin_load(const GatedLinearAttentionCuda& in, const GatedPlace& at,
                                        const GatedStage& to, int first, int h) {
  const int count = at.count(first);
  gated_copy<Tile, kGatedRows, Tile::kKeys>(to.k, at.at(in.k, first, at.key_column()), in.k.stride,
                                            count, at.keys);
  if (in.log_decay.data != nullptr)
    gated_copy<Tile, kGatedRows, Tile::kKeys>(to.a, at.at(in.log_decay, first, at.key_column()),
                                              in.log_decay.stride, count, at.keys);
  if constexpr (kQueries)
    gated_copy<Tile, kGatedRows, Tile::kKeys>(to.q, at.at(in.q, first, at.query_column(h)),
                                              in.q.stride, count, at.keys);
}

/// Waits for the thread's copies and makes e^g and scale q of those that are its own. A barrier is
/// to follow.
template <class Tile, bool kQueries>
__device__ inline void gated_end_load(const GatedLinearAttentionCuda& in, const GatedPlace& at,
                                      const GatedStage& to, int first) {
  const int count = at.count(first);
  const bool constant = in.log_decay.data == nullptr;
  const float decay = constant ? in.constant_decays[at.head] : 0.0f;
  copies_wait<0>();
  gated_own_quads<Tile, kGatedRows, Tile::kKeys>([&](int i, int j) {
    float4& a = *reinterpret_cast<float4*>(to.a + i * Tile::kKeyStride + j);
    if (constant) {
      const float x = i < count ? decay : 1.0f;  // no matter where there is no key
      a = make_float4(x, x, x, x);
    } else {
      const float4 g = a;
      a = make_float4(expf(g.x), expf(g.y), expf(g.z), expf(g.w));
    }
    if constexpr (kQueries) {
      float4& place = *reinterpret_cast<float4*>(to.q + i * Tile::kKeyStride + j);
      const float4 q = place;
      place = make_float4(in.scale * q.x, in.scale * q.y, in.scale * q.z, in.scale * q.w);
    }
  });
}

/// body(place, P, U) for every place of [16, K], and P_last. A lane has one key and four tokens;
/// products over the others come from the lanes of the key.
template <class Tile, class Body>
__device__ inline void gated_fades(const float* a, float* last, const Body& body) {
  const int lane = gated_lane(), part = lane / 8;
  gated_strided<Tile::kKeys, 8 * Tile::kWarps>(gated_warp() * 8 + lane % 8, [&](int c) {
    const int first = 4 * part * Tile::kKeyStride + c;
    float prefix[4], suffix[4], whole = 1, product = 1, before = 1, after = 1;
#pragma unroll
    for (int e = 0; e < 4; ++e)
      suffix[e] = a[first + e * Tile::kKeyStride];
#pragma unroll
    for (int e = 0; e < 4; ++e)
      prefix[e] = whole *= suffix[e];
#pragma unroll
    for (int e = 3; e >= 0; --e) {
      const float decay = suffix[e];
      suffix[e] = product;
      product *= decay;
    }
#pragma unroll
    for (int other = 0; other < 4; ++other) {
      const float x = __shfl_sync(0xffffffffu, whole, other * 8 + lane % 8);
      before *= other < part ? x : 1.0f;
      after *= other > part ? x : 1.0f;
    }
    if (part == 3) last[c] = before * prefix[3];
#pragma unroll
    for (int e = 0; e < 4; ++e)
      body(first + e * Tile::kKeyStride, before * prefix[e], suffix[e] * after);
  });
}

/// Sums over `Parts` lanes that are `Apart` lanes apart, where `part` counts them: the lane is left
/// with those of x[N / Parts · part + n] in x[n] for n < N / Parts.
template <int Parts, int Apart, int N>
__device__ inline void gated_spread_sums(float (&x)[N], int part) {
#pragma unroll
  for (int offset = Parts / 2, width = N / 2; offset > 0; offset /= 2, width /= 2) {
    const bool upper = (part & offset) != 0;
#pragma unroll
    for (int n = 0; n < N / 2; ++n) {
      if (n >= width) continue;
      const float sent = upper ? x[n] : x[n + width], kept = upper ? x[n + width] : x[n];
      x[n] = kept + __shfl_xor_sync(0xffffffffu, sent, offset * Apart);
    }
  }
}

/// A, zero above the diagonal, by the path of each query over the keys: nothing is divided. A row
/// is shared by neighbouring lanes, each of which has every `kParts`-th four keys.
template <class Tile>
__device__ inline void gated_weights(const GatedStage& s, float* weights) {
  constexpr int kParts = Tile::kThreads / kGatedRows, kEach = kGatedRows / kParts;
  const int thread = static_cast<int>(threadIdx.x), i = thread / kParts, part = thread % kParts;
  const int newest = (gated_warp() + 1) * (32 / kParts) - 1;  // row of this warp
  float sums[kGatedRows] = {};
  gated_strided<Tile::kKeys, 4 * kParts>(4 * part, [&](int c) {
    const float4 q = *reinterpret_cast<const float4*>(s.q + i * Tile::kKeyStride + c);
    float4 w = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int j = kGatedRows - 1; j >= 0; --j) {
      if (j > newest) continue;
      const float4 k = *reinterpret_cast<const float4*>(s.k + j * Tile::kKeyStride + c);
      const float4 a = *reinterpret_cast<const float4*>(s.a + j * Tile::kKeyStride + c);
      if (j == i) w = q;
      sums[j] += w.x * k.x + w.y * k.y + w.z * k.z + w.w * k.w;
      w = make_float4(w.x * a.x, w.y * a.y, w.z * a.z, w.w * a.w);
    }
  });
  gated_spread_sums<kParts, 1>(sums, part);
#pragma unroll
  for (int n = 0; n < kEach; ++n)
    weights[i * kGatedTileStride + part * kEach + n] = sums[n];
}

/// body(i, j, x, y) for every two neighbours of c, from (i, j) on, of 8 N columns from `column`.
template <int N, class Body>
__device__ inline void gated_pairs(const float (&c)[N][4], int row, int column, const Body& body) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      body(row + lane_row() + 8 * half, column + 8 * n + 2 * lane_column(), c[n][2 * half],
           c[n][2 * half + 1]);
}

/// to [16, cols] = c, or += it; rows and columns from `rows` and `cols` on do not exist.
template <int N>
__device__ inline void gated_store(const float (&c)[N][4], int column, float* to, Index stride,
                                   int rows, int cols, bool accumulate) {
  const bool wide = reinterpret_cast<std::uintptr_t>(to) % 8 == 0 && stride % 2 == 0;
  gated_pairs<N>(c, 0, column, [&](int i, int j, float x, float y) {
    if (i >= rows || j >= cols) return;
    float* const place = to + i * stride + j;
    const bool both = j + 1 < cols;
    if (accumulate) {
      x += place[0];
      if (both) y += place[1];
    }
    if (wide && both) {
      *reinterpret_cast<float2*>(place) = make_float2(x, y);
    } else {
      place[0] = x;
      if (both) place[1] = y;
    }
  });
}

/// state ← diag(fade) state + rowsᵀ values in the columns of one warp: rows [16, K], values [16,
/// Cols]; `fade` null: no fading. body(key, column, x, y) sees what comes of it.
template <Product P, class Tile, class Body>
__device__ inline void gated_advance(float* state, const float* fade, const float* rows,
                                     const float* values, int column, const Body& body) {
  constexpr int N = Tile::kFragments;
  for (int key = 0; key < Tile::kKeys; key += 16) {
    float c[N][4];
    clear(c);
    columns_product<P>(c, rows + key, Tile::kKeyStride, values + column, Tile::kStride, kGatedRows);
    gated_pairs<N>(c, key, column, [&](int i, int j, float x, float y) {
      float2& place = *reinterpret_cast<float2*>(state + i * Tile::kStride + j);
      const float2 old = place;
      const float left = fade == nullptr ? 1.0f : fade[i];
      place = make_float2(left * old.x + x, left * old.y + y);
      body(i, j, place.x, place.y);
    });
  }
}

}  // namespace recallbench
