#pragma once

// What the forward and the backward kernel of gated_linear_attention share, in the notation of
// chunk_cpu.cpp, with chunks of 16 tokens. A block has one (replica, example, state head) and
// `Cols` columns of its values, which do not meet in the state. In shared memory rows are 4 numbers
// longer than a multiple of 16; tokens beyond the last and columns beyond K and V are zero, their
// decays 1.

#include "kernels/cuda/reduce.cuh"
#include "kernels/delta_rule/chunk.cuh"
#include "kernels/gated_linear_attention/gated_linear_attention_cuda.h"

namespace recallbench {

constexpr int kGatedRows = 16;
constexpr int kGatedThreads = kDeltaThreads;  ///< at least one a key
constexpr int kGatedWarps = kGatedThreads / 32;
constexpr int kGatedTileStride = kGatedRows + 4;
constexpr Index kGatedMostKeys = 256;

inline int gated_columns(const GatedLinearAttentionCuda& in) {
  return in.values <= 32 || in.keys > 128 ? 32 : 64;
}
inline Index gated_tiles(const GatedLinearAttentionCuda& in) {
  return (in.values + gated_columns(in) - 1) / gated_columns(in);
}
inline Index gated_chunks(Index length) {
  return (length + kGatedRows - 1) / kGatedRows;
}

/// Where a block works.
struct GatedPlace {
  Index tile, item, replica, row;  ///< `item`: of all replicas; `row`: the example's first token
  int head, group, keys, padded, stride, values, first_column, columns, length;

  __device__ GatedPlace(const GatedLinearAttentionCuda& in, Index tiles, int width)
      : tile(blockIdx.x % tiles),
        item(blockIdx.x / tiles),
        head(static_cast<int>(item % in.state_heads)),
        group(static_cast<int>(in.heads / in.state_heads)),
        keys(static_cast<int>(in.keys)),
        padded((keys + 15) / 16 * 16),
        stride(padded + 4),
        values(static_cast<int>(in.values)),
        first_column(static_cast<int>(tile) * width),
        columns(min(width, values - first_column)),
        length(static_cast<int>(in.length)) {
    const Index pair = item / in.state_heads;
    replica = pair / in.examples;
    row = pair % in.examples * in.length;
  }

  __device__ int count(int first) const { return min(kGatedRows, length - first); }
  __device__ float* at(const Batched<float>& m, int token, Index column) const {
    return m.data + replica * m.replica_stride + (row + token) * m.stride + column;
  }
  /// First columns of the keys and of the block's values of one of the group's query heads.
  __device__ Index query_column(int h) const { return (Index{head} * group + h) * keys; }
  __device__ Index output_column(int h) const {
    return (Index{head} * group + h) * values + first_column;
  }
};

/// The parts of shared memory that both kernels have, and the rest of it from `next`.
template <int Cols>
struct GatedMemory {
  static constexpr int kStride = Cols + 4;

  float *k, *a, *prefix, *suffix;  // k, e^g, P, U [16, K]
  float *q, *faded_q, *faded_k;    // scale q, scale q ⊙ P, k ⊙ U [16, K]
  float *weights, *v, *state;      // A [16, 16], v [16, Cols], S [K, Cols]
  float* next;

  __device__ GatedMemory(float* memory, const GatedPlace& at) : next(memory) {
    for (float** rows : {&k, &a, &prefix, &suffix, &q, &faded_q, &faded_k})
      *rows = take(kGatedRows * at.stride);
    weights = take(kGatedRows * kGatedTileStride);
    v = take(kGatedRows * kStride);
    state = take(at.padded * kStride);
  }
  __device__ float* take(int numbers) {
    float* const taken = next;
    next += numbers;
    return taken;
  }
  static int padded(Index keys) { return static_cast<int>(keys + 15) / 16 * 16; }
  static int numbers(Index keys) {
    return kGatedRows * (7 * (padded(keys) + 4) + kGatedTileStride + kStride) +
           padded(keys) * kStride;
  }
};

/// to[i][j] for i < 16, as delta_load; the threads of the block share the work. All of a thread's
/// loads are under way at once: none waits for a store.
__device__ inline void gated_load(float* to, int to_stride, int width, const float* from,
                                  Index stride, int rows, int cols) {
  constexpr int kEach = kGatedRows / kGatedWarps;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  for (int j = lane; j < width; j += 32) {
    float numbers[kEach];
#pragma unroll
    for (int n = 0; n < kEach; ++n) {
      const int i = warp + n * kGatedWarps;
      numbers[n] = i < rows && j < cols ? from[i * stride + j] : 0.0f;
    }
#pragma unroll
    for (int n = 0; n < kEach; ++n)
      to[(warp + n * kGatedWarps) * to_stride + j] = numbers[n];
  }
}

/// k, v and all that follows from the decays, of the chunk from token `first`. Calls __syncthreads
/// within, not after.
template <int Cols>
__device__ inline void gated_load_chunk(const GatedLinearAttentionCuda& in, const GatedPlace& at,
                                        const GatedMemory<Cols>& m, int first) {
  const int count = at.count(first), c = static_cast<int>(threadIdx.x);
  gated_load(m.k, at.stride, at.padded, at.at(in.k, first, Index{at.head} * at.keys), in.k.stride,
             count, at.keys);
  gated_load(m.v, m.kStride, Cols, at.at(in.v, first, Index{at.head} * at.values + at.first_column),
             in.v.stride, count, at.columns);
  __syncthreads();
  if (c >= at.padded) return;
  const bool constant = in.log_decay.data == nullptr;
  float decays[kGatedRows], product = 1;
#pragma unroll
  for (int i = 0; i < kGatedRows; ++i) {
    const bool exists = i < count && c < at.keys;
    decays[i] = !exists    ? 0.0f
                : constant ? in.constant_decays[at.head]
                           : *at.at(in.log_decay, first + i, Index{at.head} * at.keys + c);
    if (!constant || !exists) decays[i] = expf(decays[i]);
  }
#pragma unroll
  for (int i = 0; i < kGatedRows; ++i) {
    product *= decays[i];
    m.a[i * at.stride + c] = decays[i];
    m.prefix[i * at.stride + c] = product;
  }
  product = 1;
#pragma unroll
  for (int i = kGatedRows - 1; i >= 0; --i) {
    m.suffix[i * at.stride + c] = product;
    m.faded_k[i * at.stride + c] = product * m.k[i * at.stride + c];
    product *= decays[i];
  }
}

/// scale q and its faded form of one query head: each thread the numbers that it loads.
template <int Cols>
__device__ inline void gated_load_queries(const GatedLinearAttentionCuda& in, const GatedPlace& at,
                                          const GatedMemory<Cols>& m, int first, int h) {
  const int count = at.count(first), lane = static_cast<int>(threadIdx.x) % 32;
  const float* from = at.at(in.q, first, at.query_column(h));
  gated_load(m.q, at.stride, at.padded, from, in.q.stride, count, at.keys);
  for (int i = static_cast<int>(threadIdx.x) / 32; i < kGatedRows; i += kGatedWarps)
    for (int c = lane; c < at.padded; c += 32) {
      const float q = in.scale * m.q[i * at.stride + c];
      m.q[i * at.stride + c] = q;
      m.faded_q[i * at.stride + c] = q * m.prefix[i * at.stride + c];
    }
}

/// A: a warp has two of its rows, a lane every 32nd key.
template <int Cols>
__device__ inline void gated_weights(const GatedPlace& at, const GatedMemory<Cols>& m) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = static_cast<int>(threadIdx.x) / 32; i < kGatedRows; i += kGatedWarps) {
    float sums[kGatedRows] = {};
    for (int c = lane; c < at.padded; c += 32) {
      float w = m.q[i * at.stride + c];
#pragma unroll
      for (int j = kGatedRows - 1; j >= 0; --j) {
        if (j > i) continue;
        sums[j] += w * m.k[j * at.stride + c];
        w *= m.a[j * at.stride + c];
      }
    }
#pragma unroll
    for (int j = 0; j < kGatedRows; ++j) {
      const float sum = warp_sum(sums[j]);
      if (lane == 0) m.weights[i * kGatedTileStride + j] = sum;
    }
  }
}

/// S ← diag(P_last) S + (k ⊙ U)ᵀ v.
template <Product P, int Cols>
__device__ inline void gated_advance(const GatedPlace& at, const GatedMemory<Cols>& m) {
  constexpr int N = Cols / 16;  // half the columns
  const float* last = m.prefix + (kGatedRows - 1) * at.stride;
  for (int job = static_cast<int>(threadIdx.x) / 32; job < at.padded / 8; job += kGatedWarps) {
    const int key = job / 2 * 16, column = job % 2 * (Cols / 2);
    float c[N][4];
    clear(c);
    columns_product<P>(c, m.faded_k + key, at.stride, m.v + column, m.kStride, kGatedRows);
    delta_fragments<N>(key, column, [&](int n, int e, int i, int j) {
      float& place = m.state[i * m.kStride + j];
      place = last[i] * place + c[n][e];
    });
  }
}

}  // namespace recallbench
