// Forward on tensor cores (chunks.cuh). Of a chunk, with rows of tokens as matrices,
//   r = (I - A_κb)⁻¹ (κ̂ᵀ S' + A_κk v),   o = q̂ᵀ S' + A_qk v + A_qb r,
//   S ← e^{G_C - M} ⊙ (S' + k̂ vᵀ + b̂ rᵀ),
// A the tiles of readers by writers, the unit triangular system solved a column a lane. Floor:
// reads q, k, v, g, κ, a and writes o, and in training r and the state after every chunk but the
// last, once (B = 256, L = 256, H = 2 heads of 64: 0.40 GB, 100 us). A chunk is 368 products of
// 1024 multiply-adds, 0.6 of what the tokens one by one take, and about 1700 cycles of shared
// memory (65 us in all); four blocks share a multiprocessor, and the next rows are on their way
// meanwhile.
#include "kernels/cuda/launch.cuh"
#include "kernels/generalized_delta_rule/chunks.cuh"

namespace recallbench {
namespace {

/// Tensors' rows as they come [16, 64], the six of them; then factored rows, of which r takes κ̂'s
/// place.
struct Memory {
  float *log_decay, *kappa, *rate, *k, *q, *raw_v;
  float *removals, *b, *keys, *queries, *v;
  float *tiles, *middle, *end;

  __device__ explicit Memory(float* memory) {
    for (float** rows : {&log_decay, &kappa, &rate, &k, &q, &raw_v}) {
      *rows = memory;
      memory += kWalkChunk * kChunkHead;
    }
    for (float** rows : {&removals, &b, &keys, &queries, &v}) {
      *rows = memory;
      memory += kChunkRows;
    }
    tiles = memory;
    middle = tiles + kChunkTiles * kChunkTile;
    end = middle + kChunkHead;
  }
  static constexpr int kNumbers =
      6 * kWalkChunk * kChunkHead + 5 * kChunkRows + kChunkTiles * kChunkTile + 2 * kChunkHead;
};

/// Readers and writers of this thread's key and half of the tokens, and v.
__device__ __forceinline__ void make_rows(const Memory& m) {
  const int key = static_cast<int>(threadIdx.x) % kChunkHead;
  chunk_factors(m.log_decay, kChunkHead, m.middle, m.end,
                [&](int token, float before, float now, float writer) {
                  const int from = token * kChunkHead + key, to = token * kChunkStride + key;
                  const float kappa = m.kappa[from];
                  m.removals[to] = chunk_rounded(kappa * before);
                  m.queries[to] = chunk_rounded(m.q[from] * now);
                  m.keys[to] = chunk_rounded(m.k[from] * writer);
                  m.b[to] = chunk_rounded(-kappa * m.rate[from] * writer);
                  m.v[to] = chunk_rounded(m.raw_v[from]);
                });
}

/// r of the warp's columns, in place: a lane has a column, its other half the same.
__device__ __forceinline__ void solve(const float* tile, float* rows) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float* column = rows + lane % kChunkSlice;
  float r[kWalkChunk];
#pragma unroll
  for (int i = 0; i < kWalkChunk; ++i) {
    r[i] = column[i * kChunkStride];
#pragma unroll
    for (int j = 0; j < i; j += 4) {
      float a[4];
      load_numbers(tile + i * kChunkTileStride + j, a);
#pragma unroll
      for (int n = 0; n < 4; ++n)
        if (j + n < i) r[i] = fmaf(a[n], r[j + n], r[i]);
    }
  }
  __syncwarp();
  if (lane < kChunkSlice)
#pragma unroll
    for (int i = 0; i < kWalkChunk; ++i)
      column[i * kChunkStride] = chunk_rounded(r[i]);
  __syncwarp();
}

/// The state [keys, values], of which a lane has the values g and g + 8 of its warp's.
__device__ __forceinline__ void keep(const ChunkMatrix& state, float* to, int keys, int values) {
  const int value = chunk_warp() * kChunkSlice + lane_row();
  to += 2 * lane_column() * values + value;
#pragma unroll
  for (int n = 0; n < kChunkHead / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e)
      if (8 * n + 2 * lane_column() + e % 2 < keys && value + e / 2 * 8 < values)
        to[(8 * n + e % 2) * values + e / 2 * 8] = state[n][e];
}

/// r of the warp's columns, as the products read it.
__device__ inline void store_removed(const float* rows, const WalkRows& to, int first) {
#pragma unroll
  for (int n = 0; n < 2; ++n)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = lane_row() + 8 * h, column = 8 * n + 2 * lane_column();
      float x[2];
      load_numbers(rows + row * kChunkStride + column, x);
      chunk_write(x, to, row, first + column, false);
    }
}

template <bool Full>
__global__ void __launch_bounds__(kChunkThreads, 4)
    generalized_delta_chunks_forward(GeneralizedDeltaRulePlan p, WalkShape shape,
                                     GeneralizedDeltaRuleViews<float> in, Batched<float> y,
                                     GeneralizedDeltaRuleKept kept, bool quads) {
  after_previous();
  extern __shared__ float4 memory[];
  const Memory m(reinterpret_cast<float*>(memory));
  const WalkPlace at(p, shape, p.values, 1, kWalkChunk);
  const int keys = Full ? kChunkHead : static_cast<int>(p.keys);
  const int values = Full ? kChunkHead : at.count, mine = chunk_warp() * kChunkSlice;
  if constexpr (Full) quads = true;
  const Index key = at.head * p.keys, value = at.head * p.values;
  const auto load = [&](int token) {
    if (token >= at.length) return;
    chunk_load(m.log_decay, kChunkHead, {in.log_decay, at, token, key, keys, quads});
    chunk_load(m.kappa, kChunkHead, {in.removal, at, token, key, keys, quads});
    chunk_load(m.rate, kChunkHead, {in.rate, at, token, key, keys, quads});
    chunk_load(m.k, kChunkHead, {in.k, at, token, key, keys, quads});
    chunk_load(m.q, kChunkHead, {in.q, at, token, key, keys, quads});
    chunk_load(m.raw_v, kChunkHead, {in.v, at, token, value, values, quads});
  };
  ChunkMatrix state = {};
  load(0);
  for (int token = 0; token < at.length; token += kWalkChunk) {
    walk_wait();
    __syncthreads();
    make_rows(m);
    __syncthreads();
    load(token + kWalkChunk);
    chunk_make_tile(m.tiles, m.removals, m.queries, m.keys, m.b);
    chunk_scale(state, m.middle);
    ChunkSums r = {}, o = {};
    chunk_read_matrix(r, o, m.removals, m.queries, state);
    __syncthreads();
    const ChunkColumns v(m.v + mine);
    v.add_to<false>(r, m.tiles + kRemovalsOfKeys * kChunkTile);
    v.add_to<false>(o, m.tiles + kQueriesOfKeys * kChunkTile);
    v.add_to(state, m.keys);
    float* const removed = m.removals + mine;
    chunk_put(r, removed);
    solve(m.tiles + kRemovalsOfB * kChunkTile, removed);
    const ChunkColumns u(removed);
    u.add_to<false>(o, m.tiles + kQueriesOfB * kChunkTile);
    u.add_to(state, m.b);
    chunk_scale(state, m.end);
    chunk_store(o, {y, at, token, value, values, quads}, mine, false);
    if (kept.removed.data != nullptr)
      store_removed(removed, {kept.removed, at, token, value, values, quads}, mine);
    if (kept.states.data != nullptr && token + kWalkChunk < at.length)
      keep(state, at.matrix(p, kept.states, token / kWalkChunk), keys, values);
  }
}

}  // namespace

void generalized_delta_chunks_forward_cuda(const CudaCall& call,
                                           const GeneralizedDeltaRulePlan& plan,
                                           const GeneralizedDeltaRuleViews<float>& in,
                                           const Batched<float>& y,
                                           const GeneralizedDeltaRuleKept& kept, bool quads) {
  const WalkShape shape = chunk_shape();
  const auto kernel = chunk_is_full(plan, quads) ? generalized_delta_chunks_forward<true>
                                                 : generalized_delta_chunks_forward<false>;
  cuda_prefer_shared(kernel);
  walk_launch(call, "generalized_delta_forward", kernel, y.replicas * plan.items(), shape,
              Memory::kNumbers, plan, shape, in, y, kept, quads);
}

}  // namespace recallbench
