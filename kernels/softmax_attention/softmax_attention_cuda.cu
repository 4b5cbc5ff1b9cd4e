// Forward: one block for a tile of queries of one (example, head), tiles of keys that any of them
// sees one after the other, softmax as they come (Milakov and Gimelshein 2018, "Online normalizer
// calculation for softmax"; Dao 2023, "FlashAttention-2").
//
// Floor: q, k, v, o moved once. Where one tile holds an example's queries, as it does at up to 64
// labels, k and v are read once; else again for each tile of queries, from L2 mostly. The next
// tile of keys arrives during softmax and the product with the values, the next values during the
// next scores. Products: 2 (dh + dv) operations for each pair of a visible tile.

#include "kernels/cuda/launch.cuh"
#include "kernels/softmax_attention/attention_launch.cuh"

namespace recallbench {
namespace {

template <int kQueries, int kKeys, int kWidth>
struct ForwardShared {
  static constexpr int kScoreStride = kKeys + 4;  // for reads along rows, 4 apart

  float q[kQueries * kTileStride<kWidth>];
  float k[kKeys * kTileStride<kWidth>];
  float v[kKeys * kTileStride<kWidth>];
  float p[kQueries * kScoreStride];
  float factor[kQueries];
  QueryKeys keys[kQueries];
  // Behind it: the bits of the tiles of keys that are seen.
};

/// Softmax over a row of the scores that come tile by tile: kKeys / 4 lanes hold a row, the same
/// for every tile.
template <int kQueries, int kKeys>
struct RunningSoftmax {
  static constexpr int kLanes = kKeys / 4;
  static constexpr int kScoreStride = ForwardShared<kQueries, kKeys, 0>::kScoreStride;
  static constexpr int kRowsAtOnce = kThreads / kLanes;
  static constexpr int kPasses = (kQueries + kRowsAtOnce - 1) / kRowsAtOnce;

  float highest[kPasses], sum[kPasses];

  static __device__ int row(int pass) { return pass * kRowsAtOnce + threadIdx.x / kLanes; }

  __device__ RunningSoftmax() {
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass)
      highest[pass] = -INFINITY, sum[pass] = 0;
  }

  /// p: scores of the keys from first_key on → exp(score - highest so far), dropped, 0 where a key
  /// is not seen. factor: what all that was summed before has to be multiplied by.
  __device__ void tile(const AttentionOnDevice& a, const HeadPlace& at, int first_key,
                       const QueryKeys* keys, float* p, float* factor) {
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      if (row(pass) >= kQueries) break;  // whole warps
      const QueryKeys seen = keys[row(pass)];
      const int lane = threadIdx.x % kLanes, key = first_key + 4 * lane;
      float4* place = reinterpret_cast<float4*>(p + row(pass) * kScoreStride + 4 * lane);
      const float4 scores = *place;
      float x[4] = {scores.x, scores.y, scores.z, scores.w};
      float best = highest[pass];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (key + i >= seen.begin && key + i < seen.end) best = fmaxf(best, x[i]);
      best = warp_max<kLanes>(best);
#pragma unroll
      for (int i = 0; i < 4; ++i)
        x[i] = key + i >= seen.begin && key + i < seen.end ? __expf(x[i] - best) : 0;
      // Before a row's first key both are -inf, whose difference is no number.
      const float shrink = highest[pass] == best ? 1 : __expf(highest[pass] - best);
      sum[pass] = sum[pass] * shrink + warp_sum<kLanes>((x[0] + x[1]) + (x[2] + x[3]));
      highest[pass] = best;
      if (lane == 0) factor[row(pass)] = shrink;
      if (a.mask.seeds != nullptr && key < seen.end) {
        const Index element = first_element(a, at, seen.end - 1) + key;
        const float4 kept = dropout_four(a.mask, at.replica, element);
        x[0] *= kept.x, x[1] *= kept.y, x[2] *= kept.z, x[3] *= kept.w;
      }
      *place = make_float4(x[0], x[1], x[2], x[3]);
    }
  }

  /// factor: the reciprocal of a row's sum; log_sum (may be null): its logarithm, `rows` of them.
  __device__ void finish(float* factor, float* log_sum, int rows) const {
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      if (threadIdx.x % kLanes != 0 || row(pass) >= kQueries) continue;
      factor[row(pass)] = 1 / sum[pass];
      if (log_sum != nullptr && row(pass) < rows)
        log_sum[row(pass)] = highest[pass] + logf(sum[pass]);
    }
  }
};

template <Precision kPrecision, int kQueries, int kKeys, int kWidth>
__global__ void __launch_bounds__(kThreads) attention_forward(AttentionOnDevice a) {
  after_previous();
  using Shared = ForwardShared<kQueries, kKeys, kWidth>;
  constexpr int kStride = kTileStride<kWidth>;
  extern __shared__ float4 shared_memory[];
  Shared& s = *reinterpret_cast<Shared*>(shared_memory);
  unsigned* seen = reinterpret_cast<unsigned*>(&s + 1);

  const int query_tiles = (a.q.rows + kQueries - 1) / kQueries;
  const int tiles = (a.k.rows + kKeys - 1) / kKeys;
  const int column = static_cast<int>(blockIdx.x % a.chunks) * kWidth;  // of o
  // The last queries see most keys: they begin first.
  const int first =
      (query_tiles - 1 - static_cast<int>(blockIdx.x / a.chunks % query_tiles)) * kQueries;
  const HeadPlace at = head_place(a, blockIdx.x / a.chunks / query_tiles);
  const auto values = [&](int tile) { return block_of(a.v, at, tile * kKeys, column); };

  if (a.chunks == 1) load_tile<kQueries, kWidth>(block_of(a.q, at, first, 0), s.q);
  find_keys<kQueries, kKeys>(a, at, first, tiles, s.keys, seen);
  int tile = next_tile(seen, 0, tiles);  // there is one: a query sees the key at its position
  if (a.chunks == 1) load_tile<kKeys, kWidth>(block_of(a.k, at, tile * kKeys, 0), s.k);
  __pipeline_commit();
  load_tile<kKeys, kWidth>(values(tile), s.v);
  __pipeline_commit();

  RunningSoftmax<kQueries, kKeys> softmax;
  BlockProduct<kQueries, kWidth> o;
  o.clear();
  while (tile < tiles) {
    const int next = next_tile(seen, tile + 1, tiles);
    BlockProduct<kQueries, kKeys> scores;
    scores.clear();
    for (int chunk = 0; chunk < a.chunks; ++chunk) {
      if (a.chunks == 1) {
        __pipeline_wait_prior(1);  // all but the values
      } else {
        __syncthreads();
        load_tile<kQueries, kWidth>(block_of(a.q, at, first, chunk * kWidth), s.q);
        load_tile<kKeys, kWidth>(block_of(a.k, at, tile * kKeys, chunk * kWidth), s.k);
        __pipeline_commit();
        __pipeline_wait_prior(0);
      }
      __syncthreads();
      multiply<kPrecision>(scores, Operand<Inner::along_rows>{s.q, kStride},
                           Operand<Inner::along_rows>{s.k, kStride},
                           min(whole_steps(a.q.width - chunk * kWidth), kWidth), a.q.rows - first,
                           kKeys);
    }
    store(scores, a.scale, {s.p, Shared::kScoreStride, kQueries, kKeys, true}, false);
    __syncthreads();
    if (a.chunks == 1 && next < tiles)
      load_tile<kKeys, kWidth>(block_of(a.k, at, next * kKeys, 0), s.k);
    __pipeline_commit();
    softmax.tile(a, at, tile * kKeys, s.keys, s.p, s.factor);
    __pipeline_wait_prior(1);  // all but the next keys
    __syncthreads();
    o.scale_rows(s.factor);
    multiply<kPrecision>(o, Operand<Inner::along_rows>{s.p, Shared::kScoreStride},
                         Operand<Inner::down_columns>{s.v, kStride}, kKeys, a.q.rows - first,
                         a.v.width - column);
    __syncthreads();
    if (next < tiles) load_tile<kKeys, kWidth>(values(next), s.v);
    __pipeline_commit();
    tile = next;
  }
  softmax.finish(s.factor, column == 0 ? log_sums(a, at) + first : nullptr, a.q.rows - first);
  __syncthreads();
  o.scale_rows(s.factor);
  store(o, 1, block_of(a.o, at, first, column), false);
}

template <int kQueries, int kKeys, int kWidth>
void launch_forward(const CudaCall& call, const AttentionCuda& a) {
  const AttentionOnDevice device = attention_on_device(call, a);
  const Index blocks =
      a.q.replicas * a.examples * a.heads * tiles_of(a.queries, kQueries) * device.chunks;
  const int bytes = static_cast<int>(sizeof(ForwardShared<kQueries, kKeys, kWidth>)) +
                    bit_words(tiles_of(a.keys, kKeys)) * 4;
  with_precision(call.precision, [&](auto precision) {
    launch_attention("attention_forward",
                     attention_forward<precision.value, kQueries, kKeys, kWidth>, blocks, bytes,
                     call, device);
  });
}

}  // namespace

void softmax_attention_forward_cuda(const CudaCall& call, const AttentionCuda& a) {
  const bool few = a.queries <= 16;
  if (attention_tile_width(a) == 64)
    few ? launch_forward<16, 64, 64>(call, a) : launch_forward<64, 64, 64>(call, a);
  else
    few ? launch_forward<16, 32, 128>(call, a) : launch_forward<64, 32, 128>(call, a);
}

}  // namespace recallbench
