#pragma once

#include "kernels/softmax_attention/attention_launch.cuh"

// What the two backward kernels share: a tile of queries against a tile of keys,
//
//   p = exp(scale · q kᵀ - log_sum),  d_p = d_o vᵀ,  d_s = p ⊙ (drop(d_p) - δ),  δ_i = ⟨d_o_i,
//   o_i⟩,
//
// from which d_v = drop(p)ᵀ d_o, d_k = scale · d_sᵀ q and d_q = scale · d_s k.

namespace recallbench {

struct BackwardOnDevice {
  AttentionOnDevice a;
  AttentionTensor d_o;
  AttentionTarget dq, dk, dv;
  float* delta;  ///< [R, B, H, Lq]
};

__device__ inline float* deltas(const BackwardOnDevice& b, const HeadPlace& at) {
  return b.delta + (at.replica * Index{b.a.examples} * b.a.heads + at.item) * b.a.q.rows;
}

template <int kTileQueries, int kTileKeys, int kTileWidth>
struct BackwardShared {
  static constexpr int kQueries = kTileQueries, kKeys = kTileKeys, kWidth = kTileWidth;
  static constexpr int kStride = kTileStride<kWidth>;
  static constexpr int kScoreStride = kKeys + 8;  // for reads down columns

  float q[kQueries * kStride], d_o[kQueries * kStride];
  float k[kKeys * kStride], v[kKeys * kStride];
  float p[kQueries * kScoreStride], d_s[kQueries * kScoreStride];
  float log_sum[kQueries], delta[kQueries];
  QueryKeys keys[kQueries];
};

/// scores = q kᵀ and d_p = d_o vᵀ, of queries from `query` and keys from `key` on. Heads of one
/// chunk: their tiles are on the way already.
template <Precision kPrecision, class Shared>
__device__ void multiply_both(const BackwardOnDevice& b, const HeadPlace& at, int query, int key,
                              Shared& s, BlockProduct<Shared::kQueries, Shared::kKeys>& scores,
                              BlockProduct<Shared::kQueries, Shared::kKeys>& d_p) {
  constexpr int kWidth = Shared::kWidth;
  using Rows = Operand<Inner::along_rows>;
  scores.clear(), d_p.clear();
  for (int column = 0; column < b.a.chunks * kWidth; column += kWidth) {
    if (b.a.chunks > 1) {
      __syncthreads();
      load_tile<Shared::kQueries, kWidth>(block_of(b.a.q, at, query, column), s.q);
      load_tile<Shared::kQueries, kWidth>(block_of(b.d_o, at, query, column), s.d_o);
      load_tile<Shared::kKeys, kWidth>(block_of(b.a.k, at, key, column), s.k);
      load_tile<Shared::kKeys, kWidth>(block_of(b.a.v, at, key, column), s.v);
      __pipeline_commit();
    }
    __pipeline_wait_prior(0);
    __syncthreads();
    multiply<kPrecision>(scores, Rows{s.q, Shared::kStride}, Rows{s.k, Shared::kStride},
                         min(whole_steps(b.a.q.width - column), kWidth), b.a.q.rows - query,
                         Shared::kKeys);
    multiply<kPrecision>(d_p, Rows{s.d_o, Shared::kStride}, Rows{s.v, Shared::kStride},
                         min(whole_steps(b.a.v.width - column), kWidth), b.a.q.rows - query,
                         Shared::kKeys);
  }
}

/// From scores and d_p to s.p, the dropped probabilities, and s.d_s; 0 where a key is not seen.
template <class Shared>
__device__ void probabilities(const AttentionOnDevice& a, const HeadPlace& at, int first_key,
                              const BlockProduct<Shared::kQueries, Shared::kKeys>& scores,
                              const BlockProduct<Shared::kQueries, Shared::kKeys>& d_p, Shared& s) {
  using Product = BlockProduct<Shared::kQueries, Shared::kKeys>;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const int row = Product::row(i);
    const QueryKeys seen = s.keys[row];
    const float log_sum = s.log_sum[row], delta = s.delta[row];
#pragma unroll
    for (int tile = 0; tile < Product::kTiles; ++tile) {
      const int col = Product::col(tile, i), key = first_key + col;
      if (col >= Shared::kKeys) break;
      float p[2] = {0, 0}, d_s[2] = {0, 0};
      if (key < seen.end && key + 1 >= seen.begin) {
        float2 kept = make_float2(1, 1);
        if (a.mask.seeds != nullptr)
          kept = dropout_pair(a.mask, at.replica, first_element(a, at, seen.end - 1) + key);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          if (key + j < seen.begin || key + j >= seen.end) continue;
          const float keep = j == 0 ? kept.x : kept.y;
          const float weight = __expf(a.scale * scores.at[tile][i + j] - log_sum);
          p[j] = weight * keep;
          d_s[j] = weight * (d_p.at[tile][i + j] * keep - delta);
        }
      }
      const int place = row * Shared::kScoreStride + col;
      *reinterpret_cast<float2*>(s.p + place) = make_float2(p[0], p[1]);
      *reinterpret_cast<float2*>(s.d_s + place) = make_float2(d_s[0], d_s[1]);
    }
  }
}

/// d_v += drop(p)ᵀ d_o and d_k += d_sᵀ q over the tile's first `queries` queries; `column`: the
/// first of the tile's, in the head.
template <Precision kPrecision, class Shared>
__device__ void add_key_gradients(const BackwardOnDevice& b, const Shared& s, int queries,
                                  int column, BlockProduct<Shared::kKeys, Shared::kWidth>& d_k,
                                  BlockProduct<Shared::kKeys, Shared::kWidth>& d_v) {
  using Columns = Operand<Inner::down_columns>;
  const int inner = min(whole_steps(queries), Shared::kQueries);
  if (b.dv.wanted)
    multiply<kPrecision>(d_v, Columns{s.p, Shared::kScoreStride}, Columns{s.d_o, Shared::kStride},
                         inner, Shared::kKeys, b.a.v.width - column);
  if (b.dk.wanted)
    multiply<kPrecision>(d_k, Columns{s.d_s, Shared::kScoreStride}, Columns{s.q, Shared::kStride},
                         inner, Shared::kKeys, b.a.k.width - column);
}

template <int kKeys, int kWidth>
__device__ void store_key_gradients(const BackwardOnDevice& b, const HeadPlace& at, int key,
                                    int column, const BlockProduct<kKeys, kWidth>& d_k,
                                    const BlockProduct<kKeys, kWidth>& d_v) {
  if (b.dv.wanted) store(d_v, 1, block_of(b.dv.to, at, key, column), b.dv.accumulate);
  if (b.dk.wanted) store(d_k, b.a.scale, block_of(b.dk.to, at, key, column), b.dk.accumulate);
}

/// One block of a backward kernel for every (tile of `rows`, head, example, replica, chunk).
inline Index backward_blocks(const AttentionCuda& a, const BackwardOnDevice& b, Index rows,
                             int tile) {
  return a.q.replicas * a.examples * a.heads * tiles_of(rows, tile) * b.a.chunks;
}

/// d_k and d_v by tiles of keys, over all tiles of queries in order. Reads b.delta.
void attention_backward_keys(const CudaCall& call, const AttentionCuda& a,
                             const BackwardOnDevice& b);

}  // namespace recallbench
