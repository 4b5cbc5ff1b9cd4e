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
// accumulated, a lane has the inner indices that the next product wants. Tiles are read by four
// rows of eight columns and by eight rows of four: pieces of four columns are exchanged so that
// both find 32 banks.

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/tensor_cores.cuh"
#include "kernels/generalized_delta_rule/walk.cuh"
#include "kernels/linear_attention/products.cuh"

namespace recallbench {

constexpr int kChunkHead = 64;  // keys and values at most
constexpr int kChunkThreads = 128;
constexpr int kChunkSlice = kChunkHead / (kChunkThreads / 32);  // of a warp
constexpr int kChunkStride = kChunkHead + 8;
constexpr int kChunkRows = kWalkChunk * kChunkStride;  ///< numbers of rows of a chunk
constexpr int kChunkTile = kWalkChunk * kWalkChunk;    ///< numbers of a tile [C, C]
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

/// e^x and 1 / x where neither is so small or large that it must be looked after, as of half a
/// chunk: within e^±64.
__device__ inline float chunk_exp(float x) {
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(x) : "f"(x * 1.4426950408889634f));
  return x;
}
__device__ inline float chunk_inverse(float x) {
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(x) : "f"(x));
  return x;
}

/// Where a tile has row i, column j: the pieces of four columns of a row are those of the number
/// piece ^ 0, 2, 1 or 3, for each two rows another.
__device__ inline int chunk_place(int i, int j) {
  const int pair = i / 2 % 4;
  return i * kWalkChunk + (j ^ (pair % 2 * 8 + pair / 2 * 4));
}

/// body(token, before, now, writer) for the tokens of this thread, which has one key and half of
/// the chunk, from the middle on: with e^{G_{t-1} - M}, e^{G_t - M} and e^{M - G_t}. Leaves
/// e^{G_C - M} in `end` and e^M in `middle` [64] of its key; returns the last e^{..} of a reader.
template <class Body>
__device__ __forceinline__ float chunk_factors(const float* log_decay, float* middle, float* end,
                                               const Body& body) {
  const int key = static_cast<int>(threadIdx.x) % kChunkHead;
  const bool later = threadIdx.x >= kChunkHead;
  const float direction = later ? 1.0f : -1.0f;
  const int first = later ? kWalkChunk / 2 : kWalkChunk / 2 - 1, step = later ? 1 : -1;
  float sum = 0, reader = 1, writer = 1;
#pragma unroll
  for (int n = 0; n < kWalkChunk / 2; ++n) {
    const int token = first + n * step;
    const float log = log_decay[token * kChunkHead + key];
    sum = fmaf(direction, log < kChunkLeastLogDecay ? kChunkLeastLogDecay : log, sum);  // NaN stays
    const float next_reader = chunk_exp(sum), next_writer = chunk_exp(-sum);
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
  const float* source = from.data + min(column, from.cols - 4);
#pragma unroll
  for (int n = 0; n < kWalkChunk; n += kChunkThreads / kQuads) {
    const int row = static_cast<int>(threadIdx.x) / kQuads + n;
    copy_async_or_zero<16>(to + row * stride + column,
                           source + min(row, from.tokens - 1) * from.stride,
                           row < from.tokens && column < from.cols);
  }
}

/// One chunk of a head in tensors of keys and of values.
struct ChunkPlace {
  const WalkPlace& at;
  Index key, value;  ///< the head's first columns
  int token, keys, values;
  bool quads;

  __device__ WalkRows of_keys(const Batched<float>& tensor) const {
    return {tensor, at, token, key, keys, quads};
  }
  __device__ WalkRows of_values(const Batched<float>& tensor) const {
    return {tensor, at, token, value, values, quads};
  }
};

/// Rows of keys as they come [16, 64].
struct ChunkKeys {
  float *log_decay, *kappa, *rate, *k, *q;

  __device__ __forceinline__ void load(const GeneralizedDeltaRuleViews<float>& in,
                                       const ChunkPlace& from) const {
    chunk_load(log_decay, kChunkHead, from.of_keys(in.log_decay));
    chunk_load(kappa, kChunkHead, from.of_keys(in.removal));
    chunk_load(rate, kChunkHead, from.of_keys(in.rate));
    chunk_load(k, kChunkHead, from.of_keys(in.k));
    chunk_load(q, kChunkHead, from.of_keys(in.q));
  }
};

/// Readers and writers [16, 64], and the factors [64] between chunk and state.
struct ChunkFactored {
  float *removals, *b, *keys, *queries, *middle, *end;

  /// Those of this thread's key and half of the tokens; also(from, to, now) says where a number was
  /// and where it is, and the reader's factor. Returns the last of these.
  template <class Also>
  __device__ __forceinline__ float make(const ChunkKeys& raw, const Also& also) const {
    const int key = static_cast<int>(threadIdx.x) % kChunkHead;
    return chunk_factors(
        raw.log_decay, middle, end, [&](int token, float before, float now, float writer) {
          const int from = token * kChunkHead + key, to = token * kChunkStride + key;
          const float kappa = raw.kappa[from];
          removals[to] = chunk_rounded(kappa * before);
          queries[to] = chunk_rounded(raw.q[from] * now);
          keys[to] = chunk_rounded(raw.k[from] * writer);
          b[to] = chunk_rounded(-kappa * raw.rate[from] * writer);
          also(from, to, now);
        });
  }
};

/// Rounded numbers of rows [16, 64]: of g and g + 8, the columns 2t and 2t + 1 of eight.
struct ChunkPairs {
  float upper[2], lower[2];

  __device__ ChunkPairs(const float* rows, int column) {
    const float* place = rows + lane_row() * kChunkStride + column + 2 * lane_column();
    load_numbers(place, upper);
    load_numbers(place + 8 * kChunkStride, lower);
  }
  /// As the left of a product.
  __device__ void left(ChunkLeft& a) const {
    a[0] = __float_as_uint(upper[0]), a[1] = __float_as_uint(lower[0]);
    a[2] = __float_as_uint(upper[1]), a[3] = __float_as_uint(lower[1]);
  }
  /// sums += a · thisᵀ, of eight columns.
  __device__ __forceinline__ void add_to(ChunkSums& sums, const ChunkLeft& a) const {
    mma_tf32(sums[0], a, {__float_as_uint(upper[0]), __float_as_uint(upper[1])});
    mma_tf32(sums[1], a, {__float_as_uint(lower[0]), __float_as_uint(lower[1])});
  }
};
/// sums += a b, of b [8, 16].
__device__ __forceinline__ void chunk_add_columns(ChunkSums& sums, const ChunkLeft& a,
                                                  const std::uint32_t (&b)[2][2]) {
  mma_tf32(sums[0], a, b[0]);
  mma_tf32(sums[1], a, b[1]);
}
/// Exchanges them where `really`.
__device__ inline void chunk_exchange(bool really, ChunkSums& a, ChunkSums& b) {
#pragma unroll
  for (int n = 0; n < 2; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float x = a[n][e];
      a[n][e] = really ? b[n][e] : x;
      b[n][e] = really ? x : b[n][e];
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
                       tile + chunk_place(i, j));
    }
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
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      ChunkLeft a;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int i = lane_row() + e % 2 * 8, j = lane_column() + 8 * k + e / 2 * 4;
        a[e] = __float_as_uint(tile[Transposed ? chunk_place(j, i) : chunk_place(i, j)]);
      }
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
      ChunkLeft a;  // rounded again, which changes nothing: a copy would be made for each product
#pragma unroll
      for (int e = 0; e < 4; ++e)
        a[e] = tf32_bits(__uint_as_float(bits[k][e % 2][e / 2]));
#pragma unroll
      for (int n = 0; n < kChunkHead / 8; ++n) {
        const float* from = place + 8 * k * kChunkStride + 8 * n;
        mma_tf32(matrix[n], a, {__float_as_uint(from[0]), __float_as_uint(from[4 * kChunkStride])});
      }
    }
  }
};

/// What the chunk's readers (`OfReaders`) or writers, rows of keys [16, 64], read of a matrix:
/// [16, values] by way of κ̂ or b̂ in `removals`, of q̂ or k̂ in `others`; and, since their rows are at
/// hand, the warp's tile of readers by writers.
template <bool OfReaders>
__device__ __forceinline__ void chunk_read_matrix(ChunkSums& removals, ChunkSums& others,
                                                  const ChunkFactored& rows,
                                                  const ChunkMatrix& matrix, float* tiles) {
  const int which = chunk_warp();
  const bool by_removals = which < kQueriesOfKeys, of_b = which % 2 == kRemovalsOfB;
  const float *reader = by_removals ? rows.removals : rows.queries,
              *writer = of_b ? rows.b : rows.keys;
  const float *own = OfReaders ? reader : writer, *with = OfReaders ? writer : reader;
  const float* other =
      OfReaders ? (by_removals ? rows.queries : rows.removals) : (of_b ? rows.keys : rows.b);
  ChunkSums tile = {};
#pragma unroll
  for (int k = 0; k < kChunkHead / 8; ++k) {
    const std::uint32_t right[2][2] = {{tf32_bits(matrix[k][0]), tf32_bits(matrix[k][1])},
                                       {tf32_bits(matrix[k][2]), tf32_bits(matrix[k][3])}};
    const ChunkPairs mine(own, 8 * k), partner(with, 8 * k);
    ChunkLeft left;
    if constexpr (!OfReaders) {
      partner.left(left);
      mine.add_to(tile, left);
    }
    mine.left(left);
    if constexpr (OfReaders) partner.add_to(tile, left);
    chunk_add_columns(removals, left, right);
    ChunkPairs(other, 8 * k).left(left);
    chunk_add_columns(others, left, right);
  }
  chunk_put_tile(tile, tiles + which * kChunkTile, by_removals ? 1 : 0);
  chunk_exchange(OfReaders ? !by_removals : !of_b, removals, others);
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

/// Two neighbouring numbers of the tokens g and g + 8.
using TokenPairs = float[2][2];

/// To a tensor's columns from `column` on, or added to them, as far as it has them.
__device__ __forceinline__ void chunk_write(const TokenPairs& x, const WalkRows& to, int column,
                                            bool accumulate) {
  float* place = to.data + lane_row() * to.stride + column;
  const Index below = 8 * to.stride;
  int count[2];
#pragma unroll
  for (int u = 0; u < 2; ++u)
    count[u] = lane_row() + 8 * u < to.tokens ? to.cols - column : 0;
  TokenPairs sum = {{x[0][0], x[0][1]}, {x[1][0], x[1][1]}};
  if (to.quads) {
    if (accumulate)
#pragma unroll
      for (int u = 0; u < 2; ++u) {
        float before[2] = {};
        if (count[u] > 0) load_numbers(place + u * below, before);
        sum[u][0] += before[0];
        sum[u][1] += before[1];
      }
#pragma unroll
    for (int u = 0; u < 2; ++u)
      if (count[u] > 0) store_numbers(sum[u], place + u * below);
  } else {
#pragma unroll
    for (int u = 0; u < 2; ++u)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (float& number = place[u * below + e]; e < count[u])
          number = accumulate ? number + sum[u][e] : sum[u][e];
  }
}

/// Columns of a tensor, from `first` on.
__device__ inline void chunk_store(const ChunkSums& sums, const WalkRows& to, int first,
                                   bool accumulate) {
#pragma unroll
  for (int n = 0; n < 2; ++n)
    chunk_write({{sums[n][0], sums[n][1]}, {sums[n][2], sums[n][3]}}, to,
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
