// Backward. Where one tile holds an example's queries (up to 64, heads up to 128 wide) one kernel
// does all: a block for an (example, head) takes the tiles of keys one after the other, writes
// their d_k and d_v and sums d_q in registers. Otherwise a block sums d_q of a tile of queries, and
// attention_backward_keys.cu does the rest.
//
// Floor: q, k, v, o, d_o read, d_q, d_k, d_v written once: what the one kernel moves; the next
// values arrive during the products that need the values no more, the next keys during those of
// d_k and d_v. Products: 6 dh + 4 dv operations for each pair of a visible tile; with two kernels
// 8 dh + 6 dv.

#include "kernels/cuda/launch.cuh"
#include "kernels/softmax_attention/attention_backward.cuh"

namespace recallbench {
namespace {

/// δ of the tile's queries, by kThreads / kQueries lanes each, and their log_sum; both 0 for a row
/// without query. `saved` (may be null): where δ goes for the other kernel.
template <int kQueries>
__device__ void find_rows(const BackwardOnDevice& b, const HeadPlace& at, int first, float* log_sum,
                          float* delta, float* saved) {
  constexpr int kLanes = kThreads / kQueries;
  const int row = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  const TensorBlock o = block_of(b.a.o, at, first + row, 0);
  const TensorBlock d_o = block_of(b.d_o, at, first + row, 0);
  float sum = 0;
  if (o.rows > 0 && o.vector && d_o.vector) {
#pragma unroll 4
    for (int col = 4 * lane; col < o.cols; col += 4 * kLanes) {
      const float4 x = *reinterpret_cast<const float4*>(o.data + col);
      const float4 y = *reinterpret_cast<const float4*>(d_o.data + col);
      sum += (x.x * y.x + x.y * y.y) + (x.z * y.z + x.w * y.w);
    }
  } else if (o.rows > 0) {
#pragma unroll 4
    for (int col = lane; col < o.cols; col += kLanes)
      sum += o.data[col] * d_o.data[col];
  }
  sum = warp_sum<kLanes>(sum);
  if (lane != 0) return;
  delta[row] = sum;
  log_sum[row] = o.rows > 0 ? log_sums(b.a, at)[first + row] : 0;
  if (saved != nullptr && o.rows > 0) saved[row] = sum;
}

/// Gradients of keys that no query sees.
template <int kKeys, int kWidth>
__device__ void zero_unseen(const BackwardOnDevice& b, const HeadPlace& at, const unsigned* seen,
                            int tiles) {
  BlockProduct<kKeys, kWidth> zero;
  zero.clear();
  for (int tile = next_tile(seen, 0, tiles, false); tile < tiles;
       tile = next_tile(seen, tile + 1, tiles, false))
    store_key_gradients(b, at, tile * kKeys, 0, zero, zero);
}

/// kAll: there is one tile of queries, and d_k and d_v are done here too.
template <Precision kPrecision, class Shared, bool kAll>
__global__ void __launch_bounds__(kThreads) backward_queries(BackwardOnDevice b) {
  after_previous();
  constexpr int kQueries = Shared::kQueries, kKeys = Shared::kKeys, kWidth = Shared::kWidth;
  extern __shared__ float4 shared_memory[];
  Shared& s = *reinterpret_cast<Shared*>(shared_memory);
  unsigned* seen = reinterpret_cast<unsigned*>(&s + 1);

  const AttentionOnDevice& a = b.a;
  const int query_tiles = (a.q.rows + kQueries - 1) / kQueries;
  const int tiles = (a.k.rows + kKeys - 1) / kKeys;
  const int column = static_cast<int>(blockIdx.x % a.chunks) * kWidth;  // of d_q
  const int first =
      (query_tiles - 1 - static_cast<int>(blockIdx.x / a.chunks % query_tiles)) * kQueries;
  const HeadPlace at = head_place(a, blockIdx.x / a.chunks / query_tiles);
  const bool whole = a.chunks == 1;
  const auto load_keys = [&](const AttentionTensor& x, int tile, int col, float* to) {
    load_tile<kKeys, kWidth>(block_of(x, at, tile * kKeys, col), to);
  };

  if (whole) {
    load_tile<kQueries, kWidth>(block_of(a.q, at, first, 0), s.q);
    load_tile<kQueries, kWidth>(block_of(b.d_o, at, first, 0), s.d_o);
  }
  find_keys<kQueries, kKeys>(a, at, first, tiles, s.keys, seen);
  int tile = next_tile(seen, 0, tiles);
  if (whole) {
    load_keys(a.k, tile, 0, s.k);
    load_keys(a.v, tile, 0, s.v);
  }
  __pipeline_commit();
  find_rows<kQueries>(b, at, first, s.log_sum, s.delta,
                      kAll || column > 0 ? nullptr : deltas(b, at) + first);
  if constexpr (kAll) zero_unseen<kKeys, kWidth>(b, at, seen, tiles);
  if (!kAll && !b.dq.wanted) tile = tiles;

  BlockProduct<kQueries, kWidth> d_q;
  d_q.clear();
  while (tile < tiles) {
    const int next = next_tile(seen, tile + 1, tiles);
    BlockProduct<kQueries, kKeys> scores, d_p;
    multiply_both<kPrecision>(b, at, first, tile * kKeys, s, scores, d_p);
    probabilities(a, at, tile * kKeys, scores, d_p, s);
    __syncthreads();
    if (!whole) {
      load_keys(a.k, tile, column, s.k);
      __pipeline_commit();
      __pipeline_wait_prior(0);
      __syncthreads();
    } else if (next < tiles) {
      load_keys(a.v, next, 0, s.v);
    }
    if (b.dq.wanted)
      multiply<kPrecision>(d_q, Operand<Inner::along_rows>{s.d_s, Shared::kScoreStride},
                           Operand<Inner::down_columns>{s.k, Shared::kStride}, kKeys,
                           a.q.rows - first, a.k.width - column);
    __syncthreads();
    if (whole && next < tiles) load_keys(a.k, next, 0, s.k);
    __pipeline_commit();
    if constexpr (kAll) {
      BlockProduct<kKeys, kWidth> d_k, d_v;
      d_k.clear(), d_v.clear();
      add_key_gradients<kPrecision>(b, s, a.q.rows, 0, d_k, d_v);
      store_key_gradients(b, at, tile * kKeys, 0, d_k, d_v);
    }
    tile = next;
  }
  __pipeline_wait_prior(0);
  if (b.dq.wanted) store(d_q, a.scale, block_of(b.dq.to, at, first, column), b.dq.accumulate);
}

template <int kQueries, int kKeys, int kWidth, bool kAll>
void launch(const CudaCall& call, const AttentionCuda& a, const BackwardOnDevice& b) {
  using Shared = BackwardShared<kQueries, kKeys, kWidth>;
  const int bytes = static_cast<int>(sizeof(Shared)) + bit_words(tiles_of(a.keys, kKeys)) * 4;
  with_precision(call.precision, [&](auto precision) {
    launch_attention("attention_backward_queries", backward_queries<precision.value, Shared, kAll>,
                     backward_blocks(a, b, a.queries, kQueries), bytes, call, b);
  });
}

}  // namespace

void softmax_attention_backward_cuda(const CudaCall& call, const AttentionCuda& a,
                                     const Batched<float>& d_o, const Gradient<float>& dq,
                                     const Gradient<float>& dk, const Gradient<float>& dv,
                                     float* scratch) {
  const BackwardOnDevice b{attention_on_device(call, a),
                           attention_tensor(d_o, a.queries, a.value_width),
                           attention_target(dq, a.queries, a.key_width),
                           attention_target(dk, a.keys, a.key_width),
                           attention_target(dv, a.keys, a.value_width),
                           scratch};
  const bool narrow = attention_tile_width(a) == 64;
  if (b.a.chunks == 1 && a.queries <= 16)
    return narrow ? launch<16, 64, 64, true>(call, a, b) : launch<16, 32, 128, true>(call, a, b);
  if (b.a.chunks == 1 && a.queries <= 64)
    return narrow ? launch<64, 32, 64, true>(call, a, b) : launch<64, 16, 128, true>(call, a, b);
  narrow ? launch<64, 32, 64, false>(call, a, b) : launch<32, 32, 128, false>(call, a, b);
  if (dk.wanted || dv.wanted) attention_backward_keys(call, a, b);
}

}  // namespace recallbench
