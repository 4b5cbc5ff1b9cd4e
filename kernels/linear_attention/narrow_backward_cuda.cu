// Linear attention of narrow heads, backward. A block has a slice of an item's keys, 64 at a time,
// of which a warp has 16, and goes through the queries that see them, 64 at a time: for up to 64
// queries (labelled ones) these are loaded once and dq stays in registers; otherwise dq grows in
// place. Weights and their gradients never leave the registers but for dq's product. Keys and
// values of the next tile are on their way as soon as the scores no longer need this one's.
// Floor: k, v read and dk, dv written once, 8 (f + dh) bytes a key, and 2 (3 f + 2 dh) operations
// for each pair that sees each other; for n queries at labels the bytes are the longer.
#include "kernels/cuda/reduce.cuh"
#include "kernels/linear_attention/forms_cuda.h"
#include "kernels/linear_attention/narrow.cuh"

namespace recallbench {
namespace {

constexpr int kChunk = 32;  // queries against which a warp has weights at a time

struct NarrowBackward {
  LinearAttentionCuda c;
  OutputGradient dy;
  Gradient<float> dq, dk, dv;  ///< dq may be the parts of its first slice
  Index slices, keys;          ///< of a slice
  Index part_stride;           ///< from one slice's part of dq to the next; 0 where there are none
  bool diagonal;               ///< queries see keys of their own slice alone
  NarrowLayout s;
  int tile_queries;  ///< rows of a tile of queries, a multiple of 16
  bool dq_pairs, dk_pairs, dv_pairs;
};

/// A block's memory, of `numbers` floats.
struct BackwardTiles {
  float *k, *v, *q, *n, *ds,
      *dots;  // two tiles of k; n = dy / denominator; ds [key][query]
  int* positions;
  int ds_stride, numbers;

  __host__ __device__ BackwardTiles(float* memory, const NarrowLayout& s, int tile_queries,
                                    int queries)
      : ds_stride(tile_queries + 4) {
    float* at = memory;
    const auto take = [&](int count) {
      float* begin = at;
      at += count;
      return begin;
    };
    k = take(2 * kTile * s.feature_stride);
    v = take(kTile * s.value_stride);
    q = take(tile_queries * s.feature_stride);
    n = take(tile_queries * s.value_stride);
    ds = take(kTile * ds_stride);
    positions = reinterpret_cast<int*>(take(tile_queries));
    dots = take((queries + tile_queries - 1) / tile_queries * tile_queries);
    numbers = static_cast<int>(at - memory);
  }
};

__device__ inline void load_queries(const NarrowBackward& b, const ItemOnDevice& it,
                                    const BackwardTiles& m, int query, float* dots) {
  copy_rows_async(m.q, b.s.feature_stride, it.query_row(b.c.tensors.q, it.features, query),
                  b.c.tensors.q.stride, b.tile_queries, it.queries - query, b.s.features,
                  it.features, b.s.q_quads);
  copies_end_group();
  if (static_cast<int>(threadIdx.x) < b.tile_queries)
    m.positions[threadIdx.x] = it.position(query + static_cast<int>(threadIdx.x));
  load_output_gradients(b.c, b.s, b.dy, it, query, b.tile_queries, m.n, dots);
  copies_wait<0>();
}

/// Fragments of dq that a warp has: number warp + 4 i of the tile's, groups of 16 queries first.
struct QueryFragments {
  int warp, groups, tiles;

  __device__ bool has(int i) const { return warp + kWarps * i < groups * tiles; }
  __device__ int row(int i) const { return (warp + kWarps * i) % groups * 16; }
  __device__ int col(int i) const { return (warp + kWarps * i) / groups * 8; }
};

/// dv in kValues fragments, of 16 keys a warp; see linear_attention_cpu's quadratic form for the
/// formulas.
template <Precision P, int kValues>
__global__ __launch_bounds__(kThreads) void narrow_backward(NarrowBackward b) {
  constexpr Product kProduct = product_of(P);
  constexpr int kFeatures = kNarrowFeatures / 8;
  extern __shared__ __align__(16) float memory[];
  const NarrowLayout& s = b.s;
  const LinearAttentionTensors<float>& in = b.c.tensors;
  const ItemOnDevice it(b.c, blockIdx.x / b.slices);
  const BackwardTiles m(memory, s, b.tile_queries, it.queries);
  const Weight weight(b.c.plan);
  const int slice = static_cast<int>(blockIdx.x % b.slices);
  const int slice_first = slice * static_cast<int>(b.keys);
  const int slice_end = min(slice_first + static_cast<int>(b.keys), it.length);
  const int warp = threadIdx.x / 32, own = 16 * warp;
  const int value_tiles = (it.values + 7) / 8, feature_tiles = (it.features + 7) / 8;
  const int first_query = b.diagonal ? slice_first : 0;
  const int end_query = b.diagonal ? slice_end : it.queries;
  const bool one_tile = end_query - first_query <= b.tile_queries;
  const QueryFragments mine{warp, b.tile_queries / 16, feature_tiles};

  int seen = 0;  // no query sees a key from here on
  for (int query = first_query; query < end_query; query += b.tile_queries)
    seen = max(seen, it.visible(query, b.tile_queries));
  seen = min(seen, slice_end);
  const auto keys_at = [&](int key) { return m.k + key / kTile % 2 * kTile * s.feature_stride; };
  const auto begin_keys = [&](int key) {
    if (key >= seen) return;
    copy_rows_async(keys_at(key), s.feature_stride, it.key_row(in.k, it.features, key), in.k.stride,
                    kTile, it.length - key, s.features, it.features, s.k_quads);
    copy_rows_async(m.v, s.value_stride, it.key_row(in.v, it.values, key), in.v.stride, kTile,
                    it.length - key, s.values, it.values, s.v_quads);
    copies_end_group();
  };
  const auto store_queries = [&](const float(&dq)[kFeatures][1][4], int query, bool add) {
    float* const to = it.query_row(b.dq.view, it.features, query) + slice * b.part_stride;
#pragma unroll
    for (int i = 0; i < kFeatures; ++i)
      if (mine.has(i))
        store_fragments(dq[i], to + mine.row(i) * b.dq.view.stride + mine.col(i), b.dq.view.stride,
                        it.queries - query - mine.row(i), it.features - mine.col(i), add,
                        b.dq_pairs);
  };

  begin_keys(slice_first);
  if (one_tile && slice_first < seen) load_queries(b, it, m, first_query, m.dots);
  float dq[kFeatures][1][4];
#pragma unroll
  for (int i = 0; i < kFeatures; ++i)
    clear(dq[i]);
  for (int key = slice_first; key < slice_end; key += kTile) {
    const float* const k = keys_at(key);
    float dv[kValues][4], dk[kFeatures][4];
    clear(dv);
    clear(dk);
    bool next_begun = false;
    for (int query = first_query; query < end_query && key < seen; query += b.tile_queries) {
      if (it.visible(query, b.tile_queries) <= key) continue;
      if (!one_tile) {
        __syncthreads();
        load_queries(b, it, m, query, key == slice_first ? m.dots + query - first_query : nullptr);
      }
      copies_wait<0>();
      __syncthreads();
      const int rows = min(b.tile_queries, (it.queries - query + 15) / 16 * 16);
      for (int chunk = 0; chunk < rows; chunk += kChunk) {
        const int tiles = min(kChunk, rows - chunk) / 8;
        float w[kChunk / 8][4], ds[kChunk / 8][4];
        clear(w);
        clear(ds);
        rows_product<exact_product(P)>(w, k + own * s.feature_stride, s.feature_stride,
                                       m.q + chunk * s.feature_stride, s.feature_stride, s.features,
                                       tiles);
        rows_product<kProduct>(ds, m.v + own * s.value_stride, s.value_stride,
                               m.n + chunk * s.value_stride, s.value_stride, s.values, tiles);
        if (chunk + kChunk >= rows && query + b.tile_queries >= end_query) {
          __syncthreads();  // all warps have used the values
          begin_keys(key + kTile);
          next_begun = true;
        }
        weigh_backward(w, ds, weight, key + own, m.positions + chunk,
                       m.dots + query - first_query + chunk, m.ds + own * m.ds_stride + chunk,
                       m.ds_stride, tiles);
#pragma unroll
        for (int n = 0; n < kChunk / 8; n += 2) {
          if (n >= tiles) continue;
          const int i = chunk + 8 * n;
          fragment_product<kProduct>(dv, w[n], w[n + 1], m.n + i * s.value_stride, s.value_stride,
                                     value_tiles);
          fragment_product<kProduct>(dk, ds[n], ds[n + 1], m.q + i * s.feature_stride,
                                     s.feature_stride, feature_tiles);
        }
      }
      if (!b.dq.wanted) continue;
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kFeatures; ++i)
        if (mine.has(i) && mine.row(i) < rows)
          columns_product<kProduct>(dq[i], m.ds + mine.row(i), m.ds_stride, k + mine.col(i),
                                    s.feature_stride, kTile);
      if (one_tile) continue;
      store_queries(dq, query, key > slice_first || b.dq.accumulate);
#pragma unroll
      for (int i = 0; i < kFeatures; ++i)
        clear(dq[i]);
    }
    if (!next_begun) {
      __syncthreads();
      begin_keys(key + kTile);
    }
    const int keys_left = slice_end - key - own;
    if (b.dv.wanted)
      store_fragments(dv, it.key_row(b.dv.view, it.values, key + own), b.dv.view.stride, keys_left,
                      it.values, b.dv.accumulate, b.dv_pairs);
    if (b.dk.wanted)
      store_fragments(dk, it.key_row(b.dk.view, it.features, key + own), b.dk.view.stride,
                      keys_left, it.features, b.dk.accumulate, b.dk_pairs);
  }
  if (one_tile && b.dq.wanted && slice_first < seen)
    store_queries(dq, first_query, b.dq.accumulate);
}

template <Precision P, int kValues>
void launch(const CudaCall& call, NarrowBackward b) {
  const Index queries = b.diagonal ? b.keys : b.c.plan.queries;  // of a block
  const auto bytes = [&](int rows) {
    return static_cast<std::size_t>(
               BackwardTiles(nullptr, b.s, rows, static_cast<int>(queries)).numbers) *
           sizeof(float);
  };
  const int rows = static_cast<int>(std::min<Index>(kTile, (queries + 15) / 16 * 16));
  static const std::size_t limit = static_cast<std::size_t>(shared_memory_limit());
  b.tile_queries = bytes(rows) <= limit ? rows : kChunk;
  [[maybe_unused]] static const bool allowed = allow_shared_memory(narrow_backward<P, kValues>);
  const Index blocks = b.c.tensors.q.replicas * b.c.plan.items() * b.slices;
  narrow_backward<P, kValues>
      <<<static_cast<unsigned>(blocks), kThreads, bytes(b.tile_queries), call.stream>>>(b);
  cuda_check_launch("linear_attention narrow_backward");
}

/// `diagonal`: slices are chunks, whose queries see keys of their own chunk.
void launch_slices(const CudaCall& call, const LinearAttentionCuda& c,
                   const LinearAttentionGradients<float>& to, const Gradient<float>& dq,
                   Index slices, Index keys, bool diagonal) {
  const bool parts = slices > 1 && !diagonal;
  const NarrowBackward b{c,
                         {to.dy, in_quads(to.dy, c.plan.values)},
                         dq,
                         to.dk,
                         to.dv,
                         slices,
                         keys,
                         parts ? dq.view.replicas * dq.view.replica_stride : 0,
                         diagonal,
                         NarrowLayout(c),
                         0,
                         in_quads(dq.view, c.plan.features),
                         in_quads(to.dk.view, c.plan.features),
                         in_quads(to.dv.view, c.plan.values)};
  with_precision(call.precision, [&](auto p) {
    c.plan.values <= 64 ? launch<p(), 8>(call, b) : launch<p(), 16>(call, b);
  });
}

}  // namespace

Index narrow_backward_scratch(const LinearAttentionPlan& plan, Index replicas) {
  return KeySlices(plan).scratch(plan, replicas);
}

void narrow_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                          const LinearAttentionGradients<float>& gradients) {
  const KeySlices slices(c.plan);
  if (slices.count == 1)
    return launch_slices(call, c, gradients, gradients.dq, 1, slices.keys, false);
  const Gradient<float> parts = query_parts(c, c.tensors.scratch, gradients.dq);
  launch_slices(call, c, gradients, parts, slices.count, slices.keys, false);
  add_query_parts_cuda(call, c, slices, c.tensors.scratch, gradients.dq);
}

void diagonal_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                            const LinearAttentionGradients<float>& gradients, Index chunk) {
  launch_slices(call, c, gradients, gradients.dq, (c.plan.length + chunk - 1) / chunk, chunk, true);
}

}  // namespace recallbench
