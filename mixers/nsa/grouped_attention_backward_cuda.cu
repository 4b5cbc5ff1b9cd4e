// Floor: q, k, v, do read and dq, dk, dv written once: at B = 256, L = 256, d = 128 that is 235 MB,
// 56 us. Two kernels, both with sums in one order: for queries as forward, which leave the
// logarithm of their sum and Σ p dp; and for keys, where a block has up to 8 neighbouring keys of a
// head and its warps take in turn the queries that see any of them. No key is written by two
// blocks.
#include "kernels/cuda/launch.cuh"
#include "mixers/nsa/visible.cuh"

namespace recallbench {
namespace {

constexpr int kQueryThreads = 128, kQueryWarps = kQueryThreads / 32;
constexpr int kKeyThreads = 128, kKeyWarps = kKeyThreads / 32;

/// What the softmax of a query leaves for its keys.
struct QuerySums {
  float log_sum, along;  ///< log Σ e^score; Σ p dp
};

/// dq, and the query's sums.
template <class Layout>
__global__ void __launch_bounds__(kQueryThreads)
    queries_backward(SparseOnDevice s, Index items, Batched<float> d_o, Gradient<float> dq,
                     QuerySums* sums) {
  after_previous();
  const Index item = blockIdx.x * Index{kQueryWarps} + threadIdx.x / 32;
  if (item >= items) return;
  const QueryPlace at(s, item);
  const int column = at.head * s.head_dim;
  RowPart<Layout> q, d;
  q.load(head_row(s.q, at.replica, at.row, column), s.head_dim);
  d.load(head_row(d_o, at.replica, at.row, column), s.head_dim);

  // dq = scale (Σ p dp k - along Σ p k), along = Σ p dp: both sums in one walk.
  RowPart<Layout> with_dp, with_p;
  with_dp.clear();
  with_p.clear();
  float along = 0;
  RunningSoftmax softmax;
  const auto shrink = [&](float factor) {
    with_dp.scale(factor);
    with_p.scale(factor);
    along *= factor;
  };
  s.for_visible(at.position, s.chosen_by(at.replica, at.row, at.head), [&](int first, int count) {
    for (int start = 0; start < count; start += Layout::kRows) {
      const bool seen = start + Layout::row() < count;
      const Index key = at.first_key + first + (seen ? start + Layout::row() : 0);
      RowPart<Layout> k, v;
      k.load_any_behind(head_row(s.k, at.replica, key, at.kv_column), s.head_dim);
      v.load_any_behind(head_row(s.v, at.replica, key, at.kv_column), s.head_dim);
      const float score = s.scale * q.dot(k), dp = d.dot(v);
      if (!seen) continue;
      const float weight = softmax.weight(score, shrink);
      with_dp.add(weight * dp, k);
      with_p.add(weight, k);
      along += weight * dp;
    }
  });
  const float share = softmax.finish<Layout>();
  along = sum_over_rows<Layout>(along * share);
  if (threadIdx.x % 32 == 0) sums[item] = {softmax.highest + logf(softmax.sum), along};
  if (!dq.wanted) return;
  with_dp.add(-along, with_p);
  with_dp.scale(s.scale * share);
  with_dp.sum_rows();
  if (Layout::row() == 0)
    with_dp.store(head_row(dq.view, at.replica, at.row, column), s.head_dim, dq.accumulate);
}

/// Which of the `count` keys from `first_key` on the query at `row` sees, one bit a key.
__device__ unsigned seen_keys(const SparseOnDevice& s, Index replica, Index row, int head,
                              int first_key, int count) {
  unsigned bits = 0;
  s.for_visible(s.position(replica, row), s.chosen_by(replica, row, head),
                [&](int first, int length) {
                  const int low = max(first - first_key, 0);
                  const int high = min(first + length - first_key, count);
                  if (low < high) bits |= (1u << high) - (1u << low);
                });
  return bits;
}

/// The block's sum of `part`, warp after warp, to the gradient's row of this row of lanes.
template <class Layout>
__device__ void add_warps(RowPart<Layout>& part, float (*shared)[Layout::kNumbers][32],
                          const Gradient<float>& to, float* row, int width, bool exists) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  constexpr int kVec = Layout::kVec;
  __syncthreads();  // after what was read there before
#pragma unroll
  for (int n = 0; n < Layout::kNumbers; ++n)
    shared[warp][n][lane] = part.piece[n / kVec][n % kVec];
  __syncthreads();
  if (warp != 0 || !exists || !to.wanted) return;
#pragma unroll
  for (int n = 0; n < Layout::kNumbers; ++n)
    for (int w = 1; w < kKeyWarps; ++w)
      part.piece[n / kVec][n % kVec] += shared[w][n][lane];
  part.store(row, width, to.accumulate);
}

/// dk and dv of kRows neighbouring keys of one (example, key head).
template <class Layout>
__global__ void __launch_bounds__(kKeyThreads)
    keys_backward(SparseOnDevice s, Batched<float> d_o, const QuerySums* sums, Gradient<float> dk,
                  Gradient<float> dv) {
  after_previous();
  __shared__ float shared[kKeyWarps][Layout::kNumbers][32];
  __shared__ unsigned bits[kKeyThreads], some[kKeyWarps];  // what queries see; which see anything
  const int tiles = (s.keys + Layout::kRows - 1) / Layout::kRows;
  const Index pair = blockIdx.x / tiles, replica = pair / s.kv_heads / s.examples;
  const int kv_head = static_cast<int>(pair % s.kv_heads);
  const Index example = pair / s.kv_heads % s.examples;
  const int first_key = static_cast<int>(blockIdx.x % tiles) * Layout::kRows;
  const int count = min(Layout::kRows, s.keys - first_key);
  const bool exists = Layout::row() < count;
  const Index key = example * s.keys + first_key + (exists ? Layout::row() : 0);
  const int kv_column = kv_head * s.head_dim, lane = threadIdx.x % 32, warp = threadIdx.x / 32;

  RowPart<Layout> k, v, to_k, to_v;
  k.load(head_row(s.k, replica, key, kv_column), s.head_dim);
  v.load(head_row(s.v, replica, key, kv_column), s.head_dim);
  to_k.clear();
  to_v.clear();
  int turn = 0;  // of the warps: counts the queries that see a key of the tile
  for (int head = kv_head * s.group(); head < (kv_head + 1) * s.group(); ++head) {
    const QuerySums* of_head =
        sums + ((replica * s.examples + example) * s.heads + head) * s.queries;
    for (int start = 0; start < s.queries; start += kKeyThreads) {
      const int mine = start + static_cast<int>(threadIdx.x);
      const Index row_of_mine = example * s.queries + mine;
      const unsigned own =
          mine < s.queries ? seen_keys(s, replica, row_of_mine, head, first_key, count) : 0;
      const unsigned queries_of_warp = __ballot_sync(0xffffffffu, own != 0);
      __syncthreads();  // after the queries before
      bits[threadIdx.x] = own;
      if (lane == 0) some[warp] = queries_of_warp;
      __syncthreads();
      for (int w = 0; w < kKeyWarps; ++w)
        for (unsigned left = some[w]; left != 0; left &= left - 1) {
          if (turn++ % kKeyWarps != warp) continue;
          const int from = 32 * w + __ffs(static_cast<int>(left)) - 1;
          const Index row = example * s.queries + start + from;
          RowPart<Layout> q, d;
          q.load_any_behind(head_row(s.q, replica, row, head * s.head_dim), s.head_dim);
          d.load_any_behind(head_row(d_o, replica, row, head * s.head_dim), s.head_dim);
          const QuerySums of_query = of_head[start + from];
          const float score = s.scale * k.dot(q), dp = v.dot(d);
          if ((bits[from] >> Layout::row() & 1) == 0) continue;
          const float p = __expf(score - of_query.log_sum);
          to_k.add(s.scale * p * (dp - of_query.along), q);
          to_v.add(p, d);
        }
    }
  }
  add_warps(to_k, shared, dk, head_row(dk.view, replica, key, kv_column), s.head_dim, exists);
  add_warps(to_v, shared, dv, head_row(dv.view, replica, key, kv_column), s.head_dim, exists);
}

}  // namespace

void grouped_attention_backward_cuda(const CudaCall& call, const SparseInputs& in,
                                     const Batched<float>& d_o, const Gradient<float>& dq,
                                     const Gradient<float>& dk, const Gradient<float>& dv,
                                     float* scratch) {
  if (!dq.wanted && !dk.wanted && !dv.wanted) return;
  const SparseOnDevice device(in);
  const Index items = d_o.replicas * d_o.rows * device.heads;
  const unsigned query_blocks = sparse_blocks("grouped_attention", items, kQueryWarps);
  bool quads = in_quads(in.q) && in_quads(in.k) && in_quads(in.v) && in_quads(d_o);
  for (const Gradient<float>* to : {&dq, &dk, &dv})
    quads = quads && in_quads(to->view);
  QuerySums* sums = reinterpret_cast<QuerySums*>(scratch);
  with_layout("grouped_attention", device.head_dim, quads, [&](auto layout) {
    using Layout = decltype(layout);
    cuda_launch("grouped_attention_queries_backward", queries_backward<Layout>,
                {query_blocks, kQueryThreads, 0, call.stream}, device, items, d_o, dq, sums);
    if (!dk.wanted && !dv.wanted) return;
    const Index tiles = (device.keys + Layout::kRows - 1) / Layout::kRows;
    const unsigned key_blocks = sparse_blocks(
        "grouped_attention", d_o.replicas * in.size.examples * device.kv_heads * tiles, 1);
    cuda_launch("grouped_attention_keys_backward", keys_backward<Layout>,
                {key_blocks, kKeyThreads, 0, call.stream}, device, d_o, sums, dk, dv);
  });
}

}  // namespace recallbench
