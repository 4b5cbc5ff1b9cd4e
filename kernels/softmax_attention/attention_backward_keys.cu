// d_k and d_v where an example's queries fill several tiles: one block for a tile of keys of one
// (example, head), tiles of queries that see any of them one after the other, in order.
//
// Floor: q, k, v, d_o read and d_k, d_v written once. q and d_o are read again for each tile of
// keys, from L2 mostly: the tiles of one head are neighbours. Products: 4 (dh + dv) operations for
// each pair of a visible tile, against the 6 and more of both kernels together.

#include "kernels/cuda/launch.cuh"
#include "kernels/softmax_attention/attention_backward.cuh"

namespace recallbench {
namespace {

template <Precision kPrecision, class Shared>
__global__ void __launch_bounds__(kThreads) backward_keys(BackwardOnDevice b) {
  after_previous();
  constexpr int kQueries = Shared::kQueries, kKeys = Shared::kKeys, kWidth = Shared::kWidth;
  extern __shared__ float4 shared_memory[];
  Shared& s = *reinterpret_cast<Shared*>(shared_memory);

  const AttentionOnDevice& a = b.a;
  const int key_tiles = (a.k.rows + kKeys - 1) / kKeys;
  const int column = static_cast<int>(blockIdx.x % a.chunks) * kWidth;
  const int first_key = static_cast<int>(blockIdx.x / a.chunks % key_tiles) * kKeys;
  const HeadPlace at = head_place(a, blockIdx.x / a.chunks / key_tiles);
  const bool whole = a.chunks == 1;
  if (whole) {
    load_tile<kKeys, kWidth>(block_of(a.k, at, first_key, 0), s.k);
    load_tile<kKeys, kWidth>(block_of(a.v, at, first_key, 0), s.v);
  }
  __pipeline_commit();

  int query = 0, end = a.q.rows;
  if (a.positions == nullptr) {
    query = first_key / kQueries * kQueries;
    end = min(end, first_key + kKeys + a.reach);
  }
  BlockProduct<kKeys, kWidth> d_k, d_v;
  d_k.clear(), d_v.clear();
  for (; query < end; query += kQueries) {
    bool sees = false;
    if (threadIdx.x < kQueries) {
      const int mine = query + static_cast<int>(threadIdx.x);
      const QueryKeys keys = keys_of(a, at, mine);
      const bool there = mine < a.q.rows;
      s.keys[threadIdx.x] = keys;
      s.log_sum[threadIdx.x] = there ? log_sums(a, at)[mine] : 0;
      s.delta[threadIdx.x] = there ? deltas(b, at)[mine] : 0;
      sees = keys.begin < first_key + kKeys && keys.end > first_key;
    }
    if (!__syncthreads_or(sees)) continue;  // all are done with the last tile, too
    if (whole) {
      load_tile<kQueries, kWidth>(block_of(a.q, at, query, 0), s.q);
      load_tile<kQueries, kWidth>(block_of(b.d_o, at, query, 0), s.d_o);
      __pipeline_commit();
    }
    BlockProduct<kQueries, kKeys> scores, d_p;
    multiply_both<kPrecision>(b, at, query, first_key, s, scores, d_p);
    probabilities(a, at, first_key, scores, d_p, s);
    __syncthreads();
    if (!whole) {
      load_tile<kQueries, kWidth>(block_of(a.q, at, query, column), s.q);
      load_tile<kQueries, kWidth>(block_of(b.d_o, at, query, column), s.d_o);
      __pipeline_commit();
      __pipeline_wait_prior(0);
      __syncthreads();
    }
    add_key_gradients<kPrecision>(b, s, a.q.rows - query, column, d_k, d_v);
  }
  __pipeline_wait_prior(0);  // where no query sees the tile, its keys are still on the way
  store_key_gradients(b, at, first_key, column, d_k, d_v);
}

template <int kQueries, int kKeys, int kWidth>
void launch(const CudaCall& call, const AttentionCuda& a, const BackwardOnDevice& b) {
  using Shared = BackwardShared<kQueries, kKeys, kWidth>;
  with_precision(call.precision, [&](auto precision) {
    launch_attention("attention_backward_keys", backward_keys<precision.value, Shared>,
                     backward_blocks(a, b, a.keys, kKeys), static_cast<int>(sizeof(Shared)), call,
                     b);
  });
}

}  // namespace

void attention_backward_keys(const CudaCall& call, const AttentionCuda& a,
                             const BackwardOnDevice& b) {
  if (attention_tile_width(a) == 64)
    launch<32, 64, 64>(call, a, b);
  else
    launch<32, 32, 128>(call, a, b);
}

}  // namespace recallbench
