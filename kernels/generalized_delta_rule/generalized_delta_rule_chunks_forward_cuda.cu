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
#include "kernels/generalized_delta_rule/chunk_states.cuh"

namespace recallbench {
namespace {

/// Tensors' rows as they come [16, 64], the six of them; then factored rows, of which r takes κ̂'s
/// place.
struct Memory : ChunkFactored {
  ChunkKeys raw;
  float *raw_v, *v, *tiles;

  __device__ explicit Memory(float* memory) {
    for (float** rows : {&raw.log_decay, &raw.kappa, &raw.rate, &raw.k, &raw.q, &raw_v}) {
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
      load_numbers(tile + chunk_place(i, j), a);
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

/// r of the warp's columns, as the products read it.
__device__ inline void store_removed(const float* rows, const WalkRows& to, int first) {
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    const int column = 8 * n + 2 * lane_column();
    TokenPairs x;
#pragma unroll
    for (int u = 0; u < 2; ++u)
      load_numbers(rows + (lane_row() + 8 * u) * kChunkStride + column, x[u]);
    chunk_write(x, to, first + column, false);
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
  const auto chunk_at = [&](int token) {
    return ChunkPlace{at, at.head * p.keys, at.head * p.values, token, keys, values, quads};
  };
  const auto load = [&](int token) {
    if (token >= at.length) return;
    const ChunkPlace from = chunk_at(token);
    m.raw.load(in, from);
    chunk_load(m.raw_v, kChunkHead, from.of_values(in.v));
  };
  ChunkMatrix state = {};
  load(0);
  for (int token = 0; token < at.length; token += kWalkChunk) {
    walk_wait();
    __syncthreads();
    m.make(m.raw, [&](int from, int to, float) { m.v[to] = chunk_rounded(m.raw_v[from]); });
    __syncthreads();
    load(token + kWalkChunk);
    chunk_scale(state, m.middle);
    ChunkSums r = {}, o = {};
    chunk_read_matrix<true>(r, o, m, state, m.tiles);
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
    const ChunkPlace to = chunk_at(token);
    chunk_store(o, to.of_values(y), mine, false);
    if (kept.removed.data != nullptr) store_removed(removed, to.of_values(kept.removed), mine);
    if (kept.states.data != nullptr && token + kWalkChunk < at.length)
      chunk_keep(state, at.matrix(p, kept.states, token / kWalkChunk), keys, values);
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
