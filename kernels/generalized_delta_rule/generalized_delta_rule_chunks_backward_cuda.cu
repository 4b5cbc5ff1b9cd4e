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
// other's waits, and the next rows come while gradients are made.
#include "kernels/cuda/launch.cuh"
#include "kernels/generalized_delta_rule/chunk_states.cuh"

namespace recallbench {
namespace {

struct Tensors {
  Batched<float> dy;
  GeneralizedDeltaRuleKept kept;
  GeneralizedDeltaRuleGradients<float> out;
};

/// Rows [16, 64], e^{G_t - M} one row before the first token's too; G' [64, 64]. What the next
/// chunk's rows of keys are made of comes, while gradients are made, where G' and dr were.
struct Memory : ChunkFactored {
  ChunkKeys raw;
  float *kappa, *rate, *factors;
  float *v, *removed, *dy, *dremoved;
  float *gradient, *tiles;

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
    constexpr int kRaw = kWalkChunk * kChunkHead;
    static_assert(4 * kRaw <= kChunkHead * kChunkStride);
    raw = {gradient, gradient + kRaw, dremoved, gradient + 2 * kRaw, gradient + 3 * kRaw};
  }
  static constexpr int kNumbers =
      11 * kChunkRows + (1 + kChunkHead) * kChunkStride + kChunkTiles * kChunkTile + 2 * kChunkHead;
};

/// Readers, writers, κ, a and factors of this thread's key and half of the tokens; rows of values
/// rounded, as r is already. Whether the key has a decay that is less than the least.
__device__ __forceinline__ bool make_rows(const Memory& m) {
  bool less = false;
  const float reader = m.make(m.raw, [&](int from, int to, float now) {
    less |= m.raw.log_decay[from] < kChunkLeastLogDecay;
    m.factors[to] = now;
    m.kappa[to] = m.raw.kappa[from];
    m.rate[to] = m.raw.rate[from];
    m.v[to] = chunk_rounded(m.v[to]);
    m.dy[to] = chunk_rounded(m.dy[to]);
  });
  const int key = static_cast<int>(threadIdx.x) % kChunkHead;
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
      load_numbers(tile + chunk_place(i, j), a);
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

/// A warp's keys of the gradients [16, 16] of readers and writers, before their factors.
struct KeySums {
  ChunkSums queries, removals, keys, b;
  float passing[2];  // Σ G' ⊙ S' of the keys 8h + g

  /// By way of S and G; and, since rows of values are at hand, the warp's tile of them.
  __device__ __forceinline__ void add_matrices(const Memory& m, const ChunkKeyRows& state) {
    const int which = chunk_warp(), key = which * kChunkSlice;
    const float middle[2] = {m.middle[key + lane_row()], m.middle[key + lane_row() + 8]};
    const bool by_removals = which < kQueriesOfKeys, of_b = which % 2 == kRemovalsOfB;
    const float *reader = by_removals ? m.dremoved : m.dy,
                *reader2 = by_removals ? m.dy : m.dremoved;
    const float *writer = of_b ? m.removed : m.v, *writer2 = of_b ? m.v : m.removed;
    ChunkSums tile = {};
#pragma unroll
    for (int k = 0; k < kChunkHead / 8; ++k) {
      std::uint32_t before[2][2], after[2][2];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float s[2] = {chunk_rounded(middle[h] * state[k][h][0]),
                            chunk_rounded(middle[h] * state[k][h][1])};
        float g[2];
        chunk_get_gradient(m.gradient, key + 8 * h, 8 * k, g);
        passing[h] += s[0] * g[0] + s[1] * g[1];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          before[h][e] = __float_as_uint(s[e]);
          after[h][e] = __float_as_uint(g[e]);
        }
      }
      const ChunkPairs written(writer, 8 * k);
      ChunkLeft left;
      ChunkPairs(reader, 8 * k).left(left);
      written.add_to(tile, left);
      chunk_add_columns(removals, left, before);
      ChunkPairs(reader2, 8 * k).left(left);
      chunk_add_columns(queries, left, before);
      written.left(left);
      chunk_add_columns(b, left, after);
      ChunkPairs(writer2, 8 * k).left(left);
      chunk_add_columns(keys, left, after);
    }
    chunk_put_tile(tile, m.tiles + which * kChunkTile, by_removals ? 1 : 0);
    chunk_exchange(!by_removals, removals, queries);
    chunk_exchange(!of_b, b, keys);
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
  TokenPairs dq, dk, dg, dkappa, da;
#pragma unroll
  for (int u = 0; u < 2; ++u)
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const float writer = chunk_inverse(now[u][e]), db = sums.b[h][2 * u + e] * writer;
      dq[u][e] = sums.queries[h][2 * u + e] * now[u][e];
      dk[u][e] = sums.keys[h][2 * u + e] * writer;
      dkappa[u][e] = sums.removals[h][2 * u + e] * before[u][e] - rate[u][e] * db;
      da[u][e] = -kappa[u][e] * db;
      dg[u][e] = all[e] + from_on[u][e] - read[u][e];
      const int row = lane_row() + 8 * u;
      if (to.less && row < to.of_decay.tokens && column + e < to.of_decay.cols) {
        const float g = to.of_decay.data[row * to.of_decay.stride + column + e];
        if (g < kChunkLeastLogDecay) dg[u][e] *= __expf(g - kChunkLeastLogDecay);
      }
    }
  if (out.dq.wanted) chunk_write(dq, to.q, column, out.dq.accumulate);
  if (out.dk.wanted) chunk_write(dk, to.k, column, out.dk.accumulate);
  if (out.dlog_decay.wanted) chunk_write(dg, to.log_decay, column, out.dlog_decay.accumulate);
  if (out.dremoval.wanted) chunk_write(dkappa, to.removal, column, out.dremoval.accumulate);
  if (out.drate.wanted) chunk_write(da, to.rate, column, out.drate.accumulate);
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
  const auto chunk_at = [&](int token) {
    return ChunkPlace{at, at.head * p.keys, at.head * p.values, token, keys, values, quads};
  };
  const auto state_before = [&](int token) -> const float* {
    return token == 0 ? nullptr : at.matrix(p, x.kept.states, token / kWalkChunk - 1);
  };
  const auto load = [&](int token) {
    if (token < 0) return;
    if (const int n = 32 * static_cast<int>(threadIdx.x); token > 0 && n < keys * values)
      copy_to_l2(state_before(token) + n);
    const ChunkPlace from = chunk_at(token);
    m.raw.load(in, from);
    chunk_load(m.v, kChunkStride, from.of_values(in.v));
    chunk_load(m.dy, kChunkStride, from.of_values(x.dy));
    chunk_load(m.removed, kChunkStride, from.of_values(x.kept.removed));
  };
  ChunkMatrix gradient = {};
  const int last = (at.length - 1) / kWalkChunk * kWalkChunk;
  load(last);
  for (int token = last; token >= 0; token -= kWalkChunk) {
    const ChunkPlace here = chunk_at(token);
    walk_wait();
    __syncthreads();
    const bool any_less = __syncthreads_or(make_rows(m));
    chunk_scale(gradient, m.end);
    chunk_put_gradient(gradient, m.gradient + mine);
    ChunkSums dremoved = {}, dv = {};
    chunk_read_matrix<false>(dremoved, dv, m, gradient, m.tiles);
    __syncthreads();
    ChunkKeyRows state;
    chunk_load_state(state_before(token), state, keys, values, quads);
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
      if (x.out.dv.wanted)
        chunk_store(dv, here.of_values(x.out.dv.view), mine, x.out.dv.accumulate);
    }
    __syncthreads();
    KeySums sums = {};
    sums.add_matrices(m, state);
    float all[2][2];
    written(m, sums, all);
    __syncthreads();
    load(token - kWalkChunk);
    sums.add_tokens(m);
    const auto of = [&](const Gradient<float>& out) { return here.of_keys(out.view); };
    const KeyRowsOut to{of(x.out.dq),
                        of(x.out.dk),
                        of(x.out.dlog_decay),
                        of(x.out.dremoval),
                        of(x.out.drate),
                        here.of_keys(in.log_decay),
                        any_less};
#pragma unroll
    for (int h = 0; h < 2; ++h)
      leave(m, sums, h, all[h], to, x.out);
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
