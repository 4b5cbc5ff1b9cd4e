// Backward on tensor cores (chunks.cuh): a block goes from the last chunk to the first with the
// gradient G of the state on chip, and makes all gradients of a chunk at once. With G' = e^{G_C -
// M} ⊙ G after the chunk, A and W tiles of readers by writers, W_qk = do vᵀ and its like,
//   dr = (I - A_κb)⁻ᵀ (b̂ᵀ G' + A_qbᵀ do),   dv = k̂ᵀ G' + A_qkᵀ do + A_κkᵀ dr,
//   G ← e^M ⊙ (G' + q̂ doᵀ + κ̂ drᵀ),
//   dq̂ = S' do + W_qk k̂ + W_qb b̂,   dκ̂ = S' dr + W_κk k̂ + W_κb b̂,
//   dk̂ = G' v + W_qkᵀ q̂ + W_κkᵀ κ̂,   db̂ = G' r + W_qbᵀ q̂ + W_κbᵀ κ̂,
// each of which its factor takes back to dq, dκ, dk, db; b = -κ ⊙ a. A decay's gradient is the sum
// of what passes its token: of the state at the chunk's end that came from before, Σ G' ⊙ S', of
// what earlier tokens wrote for those after the chunk, of what it and later tokens read. What both
// was written and read from it on is taken out of that again: both sums have the same rounded
// factors, so what is left is as good as float32.
//
// Floor: reads q, k, v, g, κ, a, r, do, S and writes six gradients once (B = 256, L = 256, H = 2
// heads of 64: 0.60 GB, 145 us). A chunk is 816 products of 1024 multiply-adds and about 3500
// cycles of shared memory (140 us in all); three blocks share a multiprocessor and hide each
// other's waits.
#include "kernels/cuda/launch.cuh"
#include "kernels/generalized_delta_rule/chunks.cuh"

namespace recallbench {
namespace {

struct Tensors {
  Batched<float> dy;
  GeneralizedDeltaRuleKept kept;
  GeneralizedDeltaRuleGradients<float> out;
};

/// Rows [16, 64] of keys, of which readers and writers take the places of q and k, and e^{G_t - M},
/// one row before the first token's too, that of g; rows of values; G' [64, 64].
struct Memory {
  float *queries, *keys, *kappa, *rate, *removals, *b, *factors;
  float *v, *removed, *dy, *dremoved;
  float *gradient, *tiles, *middle, *end;

  __device__ explicit Memory(float* memory) {
    for (float** rows :
         {&queries, &keys, &kappa, &rate, &removals, &b, &v, &removed, &dy, &dremoved}) {
      *rows = memory;
      memory += kChunkRows;
    }
    factors = memory + kChunkStride;
    gradient = factors + kChunkRows;
    tiles = gradient + kChunkHead * kChunkStride;
    middle = tiles + kChunkTiles * kChunkTile;
    end = middle + kChunkHead;
  }
  static constexpr int kNumbers =
      11 * kChunkRows + (1 + kChunkHead) * kChunkStride + kChunkTiles * kChunkTile + 2 * kChunkHead;
};

/// Readers, writers and factors of this thread's key and half of the tokens; rows of values
/// rounded. Whether the key has a decay that is less than the least.
__device__ __forceinline__ bool make_rows(const Memory& m) {
  const int key = static_cast<int>(threadIdx.x) % kChunkHead;
  bool less = false;
  const float reader = chunk_factors(m.factors, kChunkStride, m.middle, m.end,
                                     [&](int token, float before, float now, float writer) {
                                       const int place = token * kChunkStride + key;
                                       const float kappa = m.kappa[place];
                                       less |= m.factors[place] < kChunkLeastLogDecay;
                                       m.factors[place] = now;
                                       m.removals[place] = chunk_rounded(kappa * before);
                                       m.queries[place] = chunk_rounded(m.queries[place] * now);
                                       m.keys[place] = chunk_rounded(m.keys[place] * writer);
                                       m.b[place] = chunk_rounded(-kappa * m.rate[place] * writer);
                                       for (float* row : {m.v, m.removed, m.dy})
                                         row[place] = chunk_rounded(row[place]);
                                     });
  if (threadIdx.x < kChunkHead) m.factors[key - kChunkStride] = reader;
  return less;
}

/// dr of the warp's columns, in place: a lane has a column, its other half the same.
__device__ __forceinline__ void solve(const float* tile, float* rows) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float* column = rows + lane % kChunkSlice;
  float r[kWalkChunk];
#pragma unroll
  for (int i = 0; i < kWalkChunk; ++i)
    r[i] = column[i * kChunkStride];
#pragma unroll
  for (int i = kWalkChunk - 1; i > 0; --i)
#pragma unroll
    for (int j = 0; j < i; j += 4) {
      float a[4];
      load_numbers(tile + i * kChunkTileStride + j, a);
#pragma unroll
      for (int n = 0; n < 4; ++n)
        if (j + n < i) r[j + n] = fmaf(a[n], r[i], r[j + n]);
    }
  __syncwarp();
  if (lane < kChunkSlice)
#pragma unroll
    for (int i = 0; i < kWalkChunk; ++i)
      column[i * kChunkStride] = chunk_rounded(r[i]);
  __syncwarp();
}

/// G' rounded, for products over values.
__device__ __forceinline__ void put_gradient(const ChunkMatrix& gradient, float* rows) {
  float* place = rows + 2 * lane_column() * kChunkStride + lane_row();
#pragma unroll
  for (int n = 0; n < kChunkHead / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e)
      place[(8 * n + e % 2) * kChunkStride + e / 2 * 8] = chunk_rounded(gradient[n][e]);
}

/// Of S before a chunk, a warp's keys: of the keys g and g + 8 the values 2t and 2t + 1 of eight.
using KeyRows = float[kChunkHead / 8][2][2];

__device__ __forceinline__ void load_state(const float* from, KeyRows& to, int keys, int values,
                                           bool quads) {
#pragma unroll
  for (int n = 0; n < kChunkHead / 8; ++n)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int key = chunk_warp() * kChunkSlice + lane_row() + 8 * h;
      const int column = 8 * n + 2 * lane_column();
      const int count = from != nullptr && key < keys ? values - column : 0;
      const float* place = from + key * values + column;
      to[n][h][0] = to[n][h][1] = 0;
      if (quads) {
        if (count > 0) load_numbers(place, to[n][h]);
      } else {
        if (count > 0) to[n][h][0] = place[0];
        if (count > 1) to[n][h][1] = place[1];
      }
    }
}

/// A warp's keys of the gradients [16, 16] of readers and writers, before their factors.
struct KeySums {
  ChunkSums queries, removals, keys, b;
  float passing[2];  // Σ G' ⊙ S' of the keys 8h + g

  /// By way of S and G.
  __device__ __forceinline__ void add_matrices(const Memory& m, const KeyRows& state) {
    const int key = chunk_warp() * kChunkSlice + lane_row();
    const float middle[2] = {m.middle[key], m.middle[key + 8]};
#pragma unroll
    for (int k = 0; k < kChunkHead / 8; ++k) {
      ChunkLeft dy, dremoved, v, removed;
      chunk_left(m.dy, 8 * k, dy);
      chunk_left(m.dremoved, 8 * k, dremoved);
      chunk_left(m.v, 8 * k, v);
      chunk_left(m.removed, 8 * k, removed);
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float s[2] = {chunk_rounded(middle[h] * state[k][h][0]),
                            chunk_rounded(middle[h] * state[k][h][1])};
        float g[2];
        load_numbers(m.gradient + (key + 8 * h) * kChunkStride + 8 * k + 2 * lane_column(), g);
        const std::uint32_t before[2] = {__float_as_uint(s[0]), __float_as_uint(s[1])};
        const std::uint32_t after[2] = {__float_as_uint(g[0]), __float_as_uint(g[1])};
        mma_tf32(queries[h], dy, before);
        mma_tf32(removals[h], dremoved, before);
        mma_tf32(keys[h], v, after);
        mma_tf32(b[h], removed, after);
        passing[h] += s[0] * g[0] + s[1] * g[1];
      }
    }
#pragma unroll
    for (float& sum : passing)
      sum = warp_sum<4>(sum);
  }
  /// Of each other's tokens.
  __device__ __forceinline__ void add_tokens(const Memory& m) {
    const int first = chunk_warp() * kChunkSlice;
    const auto tile = [&](ChunkTile which) { return m.tiles + which * kChunkTile; };
    const ChunkColumns k(m.keys + first);
    k.add_to<false>(queries, tile(kQueriesOfKeys));
    k.add_to<false>(removals, tile(kRemovalsOfKeys));
    const ChunkColumns writers(m.b + first);
    writers.add_to<false>(queries, tile(kQueriesOfB));
    writers.add_to<false>(removals, tile(kRemovalsOfB));
    const ChunkColumns q(m.queries + first);
    q.add_to<true>(keys, tile(kQueriesOfKeys));
    q.add_to<true>(b, tile(kQueriesOfB));
    const ChunkColumns kappa(m.removals + first);
    kappa.add_to<true>(keys, tile(kRemovalsOfKeys));
    kappa.add_to<true>(b, tile(kRemovalsOfB));
  }
};

/// Two keys' numbers of the tokens g and g + 8.
using TokenPairs = float[2][2];

__device__ __forceinline__ void load_pairs(const float* rows, TokenPairs& x) {
  load_numbers(rows + lane_row() * kChunkStride, x[0]);
  load_numbers(rows + (lane_row() + 8) * kChunkStride, x[1]);
}
/// += rows ⊙ sums, or less.
__device__ __forceinline__ void add_product(TokenPairs& x, const float* rows,
                                            const float (&sums)[4], float sign) {
  TokenPairs row;
  load_pairs(rows, row);
#pragma unroll
  for (int u = 0; u < 2; ++u)
#pragma unroll
    for (int e = 0; e < 2; ++e)
      x[u][e] += sign * row[u][e] * sums[2 * u + e];
}
/// Of every token the sum from it on.
__device__ __forceinline__ void sum_from_on(TokenPairs& x) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int e = 0; e < 2; ++e) {
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2)
#pragma unroll
      for (int u = 0; u < 2; ++u) {
        const float later = __shfl_sync(0xffffffffu, x[u][e], (lane + offset) % 32);
        if (lane + offset < 32) x[u][e] += later;
      }
    x[0][e] += __shfl_sync(0xffffffffu, x[1][e], lane % 4);
  }
}

/// What of a decay's gradient earlier tokens wrote for those after the chunk, of all tokens; the
/// same for all lanes of a key.
__device__ __forceinline__ void written(const Memory& m, const KeySums& sums, float (&all)[2][2]) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int column = chunk_warp() * kChunkSlice + 8 * h + 2 * lane_column();
    TokenPairs x = {};
    add_product(x, m.keys + column, sums.keys[h], 1);
    add_product(x, m.b + column, sums.b[h], 1);
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      float sum = x[0][e] + x[1][e];
#pragma unroll
      for (int offset = 4; offset < 32; offset *= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, offset);
      all[h][e] = sum + __shfl_sync(0xffffffffu, sums.passing[h], 4 * (2 * lane_column() + e));
    }
  }
}

/// Where a chunk's gradients go, and its log decays, which are looked at again where one of them is
/// less than the least: such a decay's gradient is less in proportion.
struct KeyRowsOut {
  WalkRows q, k, log_decay, removal, rate, of_decay;
  bool less;
};

/// The gradients of eight keys' pairs from their sums; `all`: of `written`.
__device__ __forceinline__ void leave(const Memory& m, const KeySums& sums, int h,
                                      const float (&all)[2], const KeyRowsOut& to,
                                      const GeneralizedDeltaRuleGradients<float>& out) {
  const int column = chunk_warp() * kChunkSlice + 8 * h + 2 * lane_column();
  TokenPairs read = {}, from_on = {}, now, before, kappa, rate;
  add_product(read, m.removals + column, sums.removals[h], 1);
  add_product(from_on, m.queries + column, sums.queries[h], 1);
  add_product(from_on, m.keys + column, sums.keys[h], -1);
  add_product(from_on, m.b + column, sums.b[h], -1);
#pragma unroll
  for (int u = 0; u < 2; ++u)
#pragma unroll
    for (int e = 0; e < 2; ++e)
      from_on[u][e] += read[u][e];
  sum_from_on(from_on);
  load_pairs(m.factors + column, now);
  load_pairs(m.factors + column - kChunkStride, before);
  load_pairs(m.kappa + column, kappa);
  load_pairs(m.rate + column, rate);
#pragma unroll
  for (int u = 0; u < 2; ++u) {
    const int row = lane_row() + 8 * u;
    float dq[2], dk[2], dg[2], dkappa[2], da[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const float writer = __fdividef(1.0f, now[u][e]), db = sums.b[h][2 * u + e] * writer;
      dq[e] = sums.queries[h][2 * u + e] * now[u][e];
      dk[e] = sums.keys[h][2 * u + e] * writer;
      dkappa[e] = sums.removals[h][2 * u + e] * before[u][e] - rate[u][e] * db;
      da[e] = -kappa[u][e] * db;
      dg[e] = all[e] + from_on[u][e] - read[u][e];
      if (to.less && row < to.of_decay.tokens && column + e < to.of_decay.cols) {
        const float g = to.of_decay.data[row * to.of_decay.stride + column + e];
        if (g < kChunkLeastLogDecay) dg[e] *= __expf(g - kChunkLeastLogDecay);
      }
    }
    if (out.dq.wanted) chunk_write(dq, to.q, row, column, out.dq.accumulate);
    if (out.dk.wanted) chunk_write(dk, to.k, row, column, out.dk.accumulate);
    if (out.dlog_decay.wanted)
      chunk_write(dg, to.log_decay, row, column, out.dlog_decay.accumulate);
    if (out.dremoval.wanted) chunk_write(dkappa, to.removal, row, column, out.dremoval.accumulate);
    if (out.drate.wanted) chunk_write(da, to.rate, row, column, out.drate.accumulate);
  }
}

template <bool Full>
__global__ void __launch_bounds__(kChunkThreads, 3)
    generalized_delta_chunks_backward(GeneralizedDeltaRulePlan p, WalkShape shape,
                                      GeneralizedDeltaRuleViews<float> in, Tensors x, bool quads) {
  after_previous();
  extern __shared__ float4 memory[];
  const Memory m(reinterpret_cast<float*>(memory));
  const WalkPlace at(p, shape, p.values, 1, kWalkChunk);
  const int keys = Full ? kChunkHead : static_cast<int>(p.keys);
  const int values = Full ? kChunkHead : at.count, mine = chunk_warp() * kChunkSlice;
  if constexpr (Full) quads = true;
  ChunkMatrix gradient = {};
  for (int token = (at.length - 1) / kWalkChunk * kWalkChunk; token >= 0; token -= kWalkChunk) {
    const auto of_keys = [&](const Batched<float>& tensor) {
      return WalkRows(tensor, at, token, at.head * p.keys, keys, quads);
    };
    const auto of_values = [&](const Batched<float>& tensor) {
      return WalkRows(tensor, at, token, at.head * p.values, values, quads);
    };
    const auto load = [&](float* to, const WalkRows& from) { chunk_load(to, kChunkStride, from); };
    load(m.factors, of_keys(in.log_decay));
    load(m.kappa, of_keys(in.removal));
    load(m.rate, of_keys(in.rate));
    load(m.keys, of_keys(in.k));
    load(m.queries, of_keys(in.q));
    load(m.v, of_values(in.v));
    load(m.dy, of_values(x.dy));
    load(m.removed, of_values(x.kept.removed));
    KeyRows state;
    load_state(token == 0 ? nullptr : at.matrix(p, x.kept.states, token / kWalkChunk - 1), state,
               keys, values, quads);
    walk_wait();
    __syncthreads();
    const bool less = make_rows(m);
    const bool any_less = __syncthreads_or(less);
    chunk_scale(gradient, m.end);
    put_gradient(gradient, m.gradient + mine);
    chunk_make_tile(m.tiles, m.removals, m.queries, m.keys, m.b);
    ChunkSums dremoved = {}, dv = {};
    chunk_read_matrix(dremoved, dv, m.b, m.keys, gradient);
    __syncthreads();
    {
      const ChunkColumns dy(m.dy + mine);
      dy.add_to<true>(dremoved, m.tiles + kQueriesOfB * kChunkTile);
      dy.add_to<true>(dv, m.tiles + kQueriesOfKeys * kChunkTile);
      dy.add_to(gradient, m.queries);
      chunk_put(dremoved, m.dremoved + mine);
      solve(m.tiles + kRemovalsOfB * kChunkTile, m.dremoved + mine);
      const ChunkColumns dr(m.dremoved + mine);
      dr.add_to<true>(dv, m.tiles + kRemovalsOfKeys * kChunkTile);
      dr.add_to(gradient, m.removals);
      chunk_scale(gradient, m.middle);
      if (x.out.dv.wanted) chunk_store(dv, of_values(x.out.dv.view), mine, x.out.dv.accumulate);
    }
    __syncthreads();
    chunk_make_tile(m.tiles, m.dremoved, m.dy, m.v, m.removed);
    KeySums sums = {};
    sums.add_matrices(m, state);
    float all[2][2];
    written(m, sums, all);
    __syncthreads();
    sums.add_tokens(m);
    const KeyRowsOut to{of_keys(x.out.dq.view),
                        of_keys(x.out.dk.view),
                        of_keys(x.out.dlog_decay.view),
                        of_keys(x.out.dremoval.view),
                        of_keys(x.out.drate.view),
                        of_keys(in.log_decay),
                        any_less};
#pragma unroll
    for (int h = 0; h < 2; ++h)
      leave(m, sums, h, all[h], to, x.out);
    __syncthreads();
  }
}

}  // namespace

void generalized_delta_chunks_backward_cuda(
    const CudaCall& call, const GeneralizedDeltaRulePlan& plan,
    const GeneralizedDeltaRuleViews<float>& in, const GeneralizedDeltaRuleKept& kept,
    const Batched<float>& dy, const GeneralizedDeltaRuleGradients<float>& out, bool quads) {
  const WalkShape shape = chunk_shape();
  const auto kernel = chunk_is_full(plan, quads) ? generalized_delta_chunks_backward<true>
                                                 : generalized_delta_chunks_backward<false>;
  cuda_prefer_shared(kernel);
  walk_launch(call, "generalized_delta_backward", kernel, dy.replicas * plan.items(), shape,
              Memory::kNumbers, plan, shape, in, Tensors{dy, kept, out}, quads);
}

}  // namespace recallbench
