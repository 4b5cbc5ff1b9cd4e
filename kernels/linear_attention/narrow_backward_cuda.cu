// Linear attention of narrow heads, backward. A block has a slice of an item's keys, 64 at a time,
// of which a warp has 16, and goes through the queries that see them, 64 at a time: for up to 64
// queries (labelled ones) these are loaded once and dq stays in registers; otherwise dq grows in
// place. Weights and their gradients never leave the registers but for dq's product. Keys and
// values of the next tile are on their way as soon as the scores no longer need this one's.
// Floor: k, v read and dk, dv written once, 8 (f + dh) bytes a key, and 2 (3 f + 2 dh) operations
// for each pair that sees each other; for n queries at labels the bytes are the longer.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/shared_memory.h"
#include "kernels/linear_attention/forms_cuda.h"
#include "kernels/linear_attention/narrow.cuh"

namespace recallbench {
namespace {

constexpr int kChunk = 32;  // queries against which a warp has weights at a time

struct NarrowBackward {
  LinearAttentionCuda c;
  LinearAttentionGradients<float> to;
  Gradient<float> dq;    ///< dq, or the parts of its first slice
  std::uint32_t slices;  ///< KeySlices
  Index keys;
  NarrowLayout s;
  int tile_queries;  ///< rows of a tile of queries, a multiple of 16
  bool dy_quads, dk_pairs, dv_pairs, dq_pairs;
};

/// A block's memory, of `numbers` floats.
struct BackwardTiles {
  float *k, *v, *q, *n, *ds,
      *inverse_dots;  // two tiles of k; n = dy / denominator; ds [key][query]
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
    inverse_dots = take((queries + tile_queries - 1) / tile_queries * tile_queries);
    numbers = static_cast<int>(at - memory);
  }
};

/// n = dy / denominator of rows [query, query + tile_queries), and, where `dots` is wanted,
/// -<dy, y> / denominator of each. A warp takes a row, four at a time.
__device__ inline void load_output_gradients(const NarrowBackward& b, const ItemOnDevice& it,
                                             const BackwardTiles& m, int query, bool dots) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, j = 4 * lane;
  const bool quads = b.dy_quads && b.s.y_quads;
  for (int base = warp; base < b.tile_queries; base += 4 * kWarps) {
    float4 dy[4], y[4];
    float inverse[4];
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int i = query + base + u * kWarps;
      const int cols = i < it.queries ? it.values : 0;
      const int row = min(i, it.queries - 1);
      dy[u] = load_quad(it.query_row(b.to.dy, it.values, row), j, cols, quads);
      y[u] = load_quad(it.query_row(b.c.tensors.y, it.values, row), j, dots ? cols : 0, quads);
      inverse[u] = 1 / *it.query_row(b.c.tensors.denominators, 1, row);
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int i = base + u * kWarps;
      if (i >= b.tile_queries) break;
      if (dots) {
        const float sum =
            warp_sum(dy[u].x * y[u].x + dy[u].y * y[u].y + dy[u].z * y[u].z + dy[u].w * y[u].w);
        if (lane == 0) m.inverse_dots[query + i] = -sum * inverse[u];
      }
      if (j < b.s.values)
        *reinterpret_cast<float4*>(m.n + i * b.s.value_stride + j) = make_float4(
            dy[u].x * inverse[u], dy[u].y * inverse[u], dy[u].z * inverse[u], dy[u].w * inverse[u]);
    }
  }
}

__device__ inline void load_queries(const NarrowBackward& b, const ItemOnDevice& it,
                                    const BackwardTiles& m, int query, bool dots) {
  copy_rows_async(m.q, b.s.feature_stride, it.query_row(b.c.tensors.q, it.features, query),
                  b.c.tensors.q.stride, b.tile_queries, it.queries - query, b.s.features,
                  it.features, b.s.q_quads);
  copies_end_group();
  if (static_cast<int>(threadIdx.x) < b.tile_queries)
    m.positions[threadIdx.x] = it.position(query + static_cast<int>(threadIdx.x));
  load_output_gradients(b, it, m, query, dots);
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
  after_previous();
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
  const int warp = threadIdx.x / 32, g = lane_row(), t = lane_column(), own = 16 * warp;
  const int value_tiles = (it.values + 7) / 8, feature_tiles = (it.features + 7) / 8;
  const bool one_tile = it.queries <= b.tile_queries;
  const QueryFragments mine{warp, b.tile_queries / 16, feature_tiles};

  int seen = 0;  // no query sees a key from here on
  for (int query = 0; query < it.queries; query += b.tile_queries)
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
    float* const to = it.query_row(b.dq.view, it.features, query) +
                      slice * b.dq.view.replicas * b.dq.view.replica_stride;
#pragma unroll
    for (int i = 0; i < kFeatures; ++i)
      if (mine.has(i))
        store_fragments(dq[i], to + mine.row(i) * b.dq.view.stride + mine.col(i), b.dq.view.stride,
                        it.queries - query - mine.row(i), it.features - mine.col(i), add,
                        b.dq_pairs);
  };

  begin_keys(slice_first);
  if (one_tile && slice_first < seen) load_queries(b, it, m, 0, true);
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
    for (int query = 0; query < it.queries && key < seen; query += b.tile_queries) {
      if (it.visible(query, b.tile_queries) <= key) continue;
      if (!one_tile) {
        __syncthreads();
        load_queries(b, it, m, query, key == slice_first);
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
        if (chunk + kChunk >= rows && query + b.tile_queries >= it.queries) {
          __syncthreads();  // all warps have used the values
          begin_keys(key + kTile);
          next_begun = true;
        }
#pragma unroll
        for (int n = 0; n < kChunk / 8; ++n)
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            if (n >= tiles) continue;
            const int i = chunk + 8 * n + 2 * t + e % 2, j = own + g + e / 2 * 8;
            const bool sees = key + j <= m.positions[i];
            ds[n][e] = sees ? (ds[n][e] + m.inverse_dots[query + i]) * weight.slope(w[n][e]) : 0.0f;
            w[n][e] = sees ? weight(w[n][e]) : 0.0f;
            m.ds[j * m.ds_stride + i] = ds[n][e];
          }
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
    if (b.to.dv.wanted)
      store_fragments(dv, it.key_row(b.to.dv.view, it.values, key + own), b.to.dv.view.stride,
                      keys_left, it.values, b.to.dv.accumulate, b.dv_pairs);
    if (b.to.dk.wanted)
      store_fragments(dk, it.key_row(b.to.dk.view, it.features, key + own), b.to.dk.view.stride,
                      keys_left, it.features, b.to.dk.accumulate, b.dk_pairs);
  }
  if (one_tile && b.dq.wanted && slice_first < seen) store_queries(dq, 0, b.dq.accumulate);
}

template <Precision P, int kValues>
void launch(const CudaCall& call, NarrowBackward b) {
  const auto bytes = [&](int rows) {
    return static_cast<std::size_t>(
               BackwardTiles(nullptr, b.s, rows, static_cast<int>(b.c.plan.queries)).numbers) *
           sizeof(float);
  };
  const int rows = static_cast<int>(std::min<Index>(kTile, (b.c.plan.queries + 15) / 16 * 16));
  b.tile_queries = bytes(rows) <= cuda_shared_limit() ? rows : kChunk;
  cuda_allow_shared(narrow_backward<P, kValues>, bytes(b.tile_queries),
                    "linear_attention narrow_backward");
  const Index blocks = b.c.tensors.q.replicas * b.c.plan.items() * b.slices;
  cuda_launch("linear_attention narrow_backward", narrow_backward<P, kValues>,
              {static_cast<unsigned>(blocks), kThreads, bytes(b.tile_queries), call.stream}, b);
}

template <Precision P>
void launch_values(const CudaCall& call, const NarrowBackward& b) {
  b.c.plan.values <= 64 ? launch<P, 8>(call, b) : launch<P, 16>(call, b);
}

}  // namespace

Index narrow_backward_scratch(const LinearAttentionPlan& plan, Index replicas) {
  return KeySlices(plan).scratch(plan, replicas);
}

void narrow_backward_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                          const LinearAttentionGradients<float>& gradients) {
  const KeySlices slices(c.plan);
  const Gradient<float> dq =
      slices.count > 1 ? query_parts(c, c.tensors.scratch, gradients.dq) : gradients.dq;
  const NarrowBackward b{c,
                         gradients,
                         dq,
                         static_cast<std::uint32_t>(slices.count),
                         slices.keys,
                         NarrowLayout(c),
                         0,
                         in_quads(gradients.dy, c.plan.values),
                         in_quads(gradients.dk.view, c.plan.features),
                         in_quads(gradients.dv.view, c.plan.values),
                         in_quads(dq.view, c.plan.features)};
  switch (call.precision) {
    case Precision::fp32:
      launch_values<Precision::fp32>(call, b);
      break;
    case Precision::tf32:
      launch_values<Precision::tf32>(call, b);
      break;
    case Precision::bf16:
      launch_values<Precision::bf16>(call, b);
      break;
  }
  if (slices.count > 1) add_query_parts_cuda(call, c, slices, c.tensors.scratch, gradients.dq);
}

}  // namespace recallbench
