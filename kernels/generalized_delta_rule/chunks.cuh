#pragma once

// What the kernels of generalized_delta_rule on tensor cores share. A block has one (replica,
// example, head) of at most 64 keys and values and goes from chunk to chunk of C = 16 tokens. With
// b = -κ ⊙ a, with G_t the sum of a chunk's log decays up to t and with M that of its first half,
//   q̂_t = q_t ⊙ e^{G_t - M},  κ̂_t = κ_t ⊙ e^{G_{t-1} - M}           (readers),
//   k̂_t = k_t ⊙ e^{M - G_t},  b̂_t = b_t ⊙ e^{M - G_t}               (writers),
// what token j writes and token i reads meet as reader_i · writer_j: products of matrices, in tf32
// whether tf32 or bf16 is asked for; at fp32, and where heads are larger, tokens are walked one by
// one (walk.cuh).
// So that all factors are numbers of a float, a token's decay is at least e^-8: what it takes as
// 3.4e-4 is less, which is no more than the products round. Matrices of the state's shape are
// taken to the middle: S' = e^M ⊙ S before the chunk, e^{G_C - M} ⊙ G after it.
//
// Products (m16n8k8, g = lane / 4, t = lane % 4) of rows [16, 64] take the columns 2t and 2t + 1 of
// eight as a lane's inner indices, of tokens t and t + 4: rows are 72 numbers apart, so that both
// find 32 banks. A state's matrix is transposed, a warp has 16 values of it and all keys: as
// accumulated, a lane has the inner indices that the next product wants.

#include "kernels/cuda/tensor_cores.cuh"
#include "kernels/generalized_delta_rule/walk.cuh"
#include "kernels/linear_attention/products.cuh"

namespace recallbench {

constexpr int kChunkHead = 64;  // keys and values at most
constexpr int kChunkThreads = 128;
constexpr int kChunkSlice = kChunkHead / (kChunkThreads / 32);  // of a warp
constexpr int kChunkStride = kChunkHead + 8;
constexpr int kChunkRows = kWalkChunk * kChunkStride;  ///< numbers of rows of a chunk
constexpr int kChunkTileStride = kWalkChunk + 4;
constexpr int kChunkTile = kWalkChunk * kChunkTileStride;  ///< numbers of a tile [C, C]
constexpr float kChunkLeastLogDecay = -8;
static_assert(kWalkChunk == 16 && kChunkSlice == 16);

/// Tiles [C, C] of readers by writers: the first index is the reader's.
enum ChunkTile { kRemovalsOfKeys, kRemovalsOfB, kQueriesOfKeys, kQueriesOfB, kChunkTiles };

/// [16, 16] of a warp: of the rows g and g + 8, the columns 2t and 2t + 1 of each eight.
using ChunkSums = float[2][4];
/// A state's matrix of a warp: 16 values by eight keys, eight times.
using ChunkMatrix = float[kChunkHead / 8][4];
using ChunkLeft = std::uint32_t[4];

__device__ inline int chunk_warp() {
  return static_cast<int>(threadIdx.x) / 32;
}
__device__ inline float chunk_rounded(float x) {
  return __uint_as_float(tf32_bits(x));
}

/// body(token, before, now, writer) for the tokens of this thread, which has one key and half of
/// the chunk, from the middle on: with e^{G_{t-1} - M}, e^{G_t - M} and e^{M - G_t}. Leaves
/// e^{G_C - M} in `end` and e^M in `middle` [64] of its key; returns the last e^{..} of a reader.
template <class Body>
__device__ __forceinline__ float chunk_factors(const float* log_decay, int stride, float* middle,
                                               float* end, const Body& body) {
  const int key = static_cast<int>(threadIdx.x) % kChunkHead;
  const bool later = threadIdx.x >= kChunkHead;
  const float direction = later ? 1.0f : -1.0f;
  const int first = later ? kWalkChunk / 2 : kWalkChunk / 2 - 1, step = later ? 1 : -1;
  float sum = 0, reader = 1, writer = 1;
#pragma unroll
  for (int n = 0; n < kWalkChunk / 2; ++n) {
    const int token = first + n * step;
    sum = fmaf(direction, fmaxf(log_decay[token * stride + key], kChunkLeastLogDecay), sum);
    const float next_reader = __expf(sum), next_writer = __expf(-sum);
    body(token, later ? reader : next_reader, later ? next_reader : reader,
         later ? next_writer : writer);
    reader = next_reader;
    writer = next_writer;
  }
  (later ? end : middle)[key] = later ? reader : writer;
  return reader;
}

/// to [16, 64] = from, 0 beyond it; its rows begin `stride` apart. The thread has its numbers after
/// walk_wait.
__device__ __forceinline__ void chunk_load(float* to, int stride, const WalkRows& from) {
  if (!from.quads) return walk_load(to, stride, kChunkHead, from);
  constexpr int kQuads = kChunkHead / 4;
  const int column = static_cast<int>(threadIdx.x) % kQuads * 4;
#pragma unroll
  for (int n = 0; n < kWalkChunk * kQuads / kChunkThreads; ++n) {
    const int row = static_cast<int>(threadIdx.x) / kQuads + n * (kChunkThreads / kQuads);
    const bool there = row < from.tokens && column < from.cols;
    __pipeline_memcpy_async(to + row * stride + column,
                            from.data + (there ? row * from.stride + column : 0), 16,
                            there ? 0 : 16);
  }
}

/// Rows [16, 64] of rounded numbers, eight columns of them, as the left of a product.
__device__ inline void chunk_left(const float* rows, int column, ChunkLeft& a) {
  const float* place = rows + lane_row() * kChunkStride + column + 2 * lane_column();
  float upper[2], lower[2];
  load_numbers(place, upper);
  load_numbers(place + 8 * kChunkStride, lower);
  a[0] = __float_as_uint(upper[0]), a[1] = __float_as_uint(lower[0]);
  a[2] = __float_as_uint(upper[1]), a[3] = __float_as_uint(lower[1]);
}

/// sums += a bᵀ, of rows a and b [16, 64].
__device__ __forceinline__ void chunk_add_rows(ChunkSums& sums, const float* a, const float* b) {
#pragma unroll
  for (int column = 0; column < kChunkHead; column += 8) {
    ChunkLeft left;
    chunk_left(a, column, left);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      float right[2];
      load_numbers(b + (8 * n + lane_row()) * kChunkStride + column + 2 * lane_column(), right);
      mma_tf32(sums[n], left, {__float_as_uint(right[0]), __float_as_uint(right[1])});
    }
  }
}

/// Rounded, and 0 but where the writer is at least `lag` tokens before the reader.
__device__ inline void chunk_put_tile(const ChunkSums& sums, float* tile, int lag) {
#pragma unroll
  for (int n = 0; n < 2; ++n)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int i = lane_row() + 8 * h, j = 8 * n + 2 * lane_column();
      store_numbers<2>({j + lag <= i ? chunk_rounded(sums[n][2 * h]) : 0.0f,
                        j + 1 + lag <= i ? chunk_rounded(sums[n][2 * h + 1]) : 0.0f},
                       tile + i * kChunkTileStride + j);
    }
}

/// A warp's tile of readers by writers of rows [16, 64].
__device__ __forceinline__ void chunk_make_tile(float* tiles, const float* removals,
                                                const float* queries, const float* keys,
                                                const float* b) {
  const int which = chunk_warp();
  ChunkSums sums = {};
  chunk_add_rows(sums, which < kQueriesOfKeys ? removals : queries,
                 which % 2 == kRemovalsOfKeys ? keys : b);
  chunk_put_tile(sums, tiles + which * kChunkTile, which < kQueriesOfKeys ? 1 : 0);
}

/// Columns of rows of tokens: [16, 16] from `rows` on, as the right of a product over tokens.
struct ChunkColumns {
  std::uint32_t bits[2][2][2];  // of tokens, of columns: eight each; then tokens t and t + 4

  __device__ explicit ChunkColumns(const float* rows) {
    const float* place = rows + lane_column() * kChunkStride + lane_row();
#pragma unroll
    for (int k = 0; k < 2; ++k)
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          bits[k][n][i] = __float_as_uint(place[(8 * k + 4 * i) * kChunkStride + 8 * n]);
  }
  /// sums += tile · this, or tileᵀ · this.
  template <bool Transposed>
  __device__ __forceinline__ void add_to(ChunkSums& sums, const float* tile) const {
    constexpr int kRow = Transposed ? 1 : kChunkTileStride,
                  kColumn = Transposed ? kChunkTileStride : 1;
    const float* place = tile + lane_row() * kRow + lane_column() * kColumn;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      ChunkLeft a;
#pragma unroll
      for (int e = 0; e < 4; ++e)
        a[e] = __float_as_uint(place[e % 2 * 8 * kRow + (8 * k + e / 2 * 4) * kColumn]);
#pragma unroll
      for (int n = 0; n < 2; ++n)
        mma_tf32(sums[n], a, bits[k][n]);
    }
  }
  /// matrix += thisᵀ · rows of keys [16, 64].
  __device__ __forceinline__ void add_to(ChunkMatrix& matrix, const float* rows) const {
    const float* place = rows + lane_column() * kChunkStride + lane_row();
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const ChunkLeft a = {bits[k][0][0], bits[k][1][0], bits[k][0][1], bits[k][1][1]};
#pragma unroll
      for (int n = 0; n < kChunkHead / 8; ++n) {
        const float* from = place + 8 * k * kChunkStride + 8 * n;
        mma_tf32(matrix[n], a, {__float_as_uint(from[0]), __float_as_uint(from[4 * kChunkStride])});
      }
    }
  }
};

/// first += a · matrixᵀ, second += b · matrixᵀ, of rows of keys [16, 64]: [16, values].
__device__ __forceinline__ void chunk_read_matrix(ChunkSums& first, ChunkSums& second,
                                                  const float* a, const float* b,
                                                  const ChunkMatrix& matrix) {
#pragma unroll
  for (int k = 0; k < kChunkHead / 8; ++k) {
    ChunkLeft left[2];
    chunk_left(a, 8 * k, left[0]);
    chunk_left(b, 8 * k, left[1]);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const std::uint32_t right[2] = {tf32_bits(matrix[k][2 * n]), tf32_bits(matrix[k][2 * n + 1])};
      mma_tf32(first[n], left[0], right);
      mma_tf32(second[n], left[1], right);
    }
  }
}

/// Every number times its key's of `factors` [64].
__device__ __forceinline__ void chunk_scale(ChunkMatrix& matrix, const float* factors) {
#pragma unroll
  for (int n = 0; n < kChunkHead / 8; ++n) {
    float factor[2];
    load_numbers(factors + 8 * n + 2 * lane_column(), factor);
#pragma unroll
    for (int e = 0; e < 4; ++e)
      matrix[n][e] *= factor[e % 2];
  }
}

/// The numbers of a fragment in a warp's columns of rows [16, 64] that other lanes then may read.
__device__ inline void chunk_put(const ChunkSums& sums, float* rows) {
#pragma unroll
  for (int n = 0; n < 2; ++n)
#pragma unroll
    for (int h = 0; h < 2; ++h)
      store_numbers<2>({sums[n][2 * h], sums[n][2 * h + 1]},
                       rows + (lane_row() + 8 * h) * kChunkStride + 8 * n + 2 * lane_column());
  __syncwarp();
}

/// Two numbers of a row of a tensor, from a column on, as far as it has them.
__device__ __forceinline__ void chunk_write(const float (&x)[2], const WalkRows& to, int row,
                                            int column, bool accumulate) {
  const int count = row < to.tokens ? to.cols - column : 0;
  float* place = to.data + row * to.stride + column;
  float sum[2] = {x[0], x[1]};
  if (to.quads) {
    if (accumulate && count > 0) {
      float before[2];
      load_numbers(place, before);
      sum[0] += before[0];
      sum[1] += before[1];
    }
    if (count > 0) store_numbers(sum, place);
  } else {
#pragma unroll
    for (int e = 0; e < 2; ++e)
      if (e < count) place[e] = accumulate ? place[e] + sum[e] : sum[e];
  }
}

/// Columns of a tensor, from `first` on.
__device__ inline void chunk_store(const ChunkSums& sums, const WalkRows& to, int first,
                                   bool accumulate) {
#pragma unroll
  for (int n = 0; n < 2; ++n)
#pragma unroll
    for (int h = 0; h < 2; ++h)
      chunk_write({sums[n][2 * h], sums[n][2 * h + 1]}, to, lane_row() + 8 * h,
                  first + 8 * n + 2 * lane_column(), accumulate);
}

/// Whether the kernels on tensor cores have this: their products round.
inline bool in_chunks(const CudaCall& call, const GeneralizedDeltaRulePlan& p) {
  return call.precision != Precision::fp32 && p.keys <= kChunkHead && p.values <= kChunkHead;
}
/// Whether heads are as large as a block has room for, and read in pieces of four numbers: then it
/// need not ask at each place.
inline bool chunk_is_full(const GeneralizedDeltaRulePlan& p, bool quads) {
  return quads && p.keys == kChunkHead && p.values == kChunkHead;
}
inline WalkShape chunk_shape() {
  return {kChunkThreads, kChunkHead, 1};
}

void generalized_delta_chunks_forward_cuda(const CudaCall& call,
                                           const GeneralizedDeltaRulePlan& plan,
                                           const GeneralizedDeltaRuleViews<float>& in,
                                           const Batched<float>& y,
                                           const GeneralizedDeltaRuleKept& kept, bool quads);
void generalized_delta_chunks_backward_cuda(
    const CudaCall& call, const GeneralizedDeltaRulePlan& plan,
    const GeneralizedDeltaRuleViews<float>& in, const GeneralizedDeltaRuleKept& kept,
    const Batched<float>& dy, const GeneralizedDeltaRuleGradients<float>& out, bool quads);

}  // namespace recallbench
