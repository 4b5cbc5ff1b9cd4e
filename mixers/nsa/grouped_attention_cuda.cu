// Floor: q, k, v and o moved once: at B = 256, L = 256, d = 128 that is 134 MB, 32 us. A query sees
// few keys (17 of a window, 32 compressed, 40 of chosen blocks), other ones than its neighbours: a
// warp has one query of one head and walks along its keys, 8 at a time for heads of up to 64
// columns, each with a softmax of its own (Milakov and Gimelshein 2018, "Online normalizer
// calculation for softmax"), which are put together in the end. Keys and values come from L1 and
// L2: the warps of a block have neighbouring queries of one head. All products are float32.
#include "kernels/cuda/launch.cuh"
#include "mixers/nsa/visible.cuh"

namespace recallbench {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32;

template <class Layout>
__global__ void __launch_bounds__(kThreads)
    grouped_attention(SparseOnDevice s, Index items, Batched<float> o) {
  after_previous();
  const Index item = blockIdx.x * Index{kWarps} + threadIdx.x / 32;
  if (item >= items) return;
  const QueryPlace at(s, item);
  RowPart<Layout> q, sum;
  q.load(head_row(s.q, at.replica, at.row, at.head * s.head_dim), s.head_dim);
  sum.clear();
  RunningSoftmax softmax;
  s.for_visible(at.position, s.chosen_by(at.replica, at.row, at.head), [&](int first, int count) {
    for (int start = 0; start < count; start += Layout::kRows) {
      const bool seen = start + Layout::row() < count;
      const Index key = at.first_key + first + (seen ? start + Layout::row() : 0);
      RowPart<Layout> k, v;
      k.load_any_behind(head_row(s.k, at.replica, key, at.kv_column), s.head_dim);
      v.load_any_behind(head_row(s.v, at.replica, key, at.kv_column), s.head_dim);
      const float score = s.scale * q.dot(k);
      if (seen) sum.add(softmax.weight(score, [&](float factor) { sum.scale(factor); }), v);
    }
  });
  sum.scale(softmax.finish<Layout>());  // zeros where the query sees no key
  sum.sum_rows();
  if (Layout::row() == 0)
    sum.store(head_row(o, at.replica, at.row, at.head * s.head_dim), s.head_dim, false);
}

}  // namespace

void grouped_attention_cuda(const CudaCall& call, const SparseInputs& in, const Batched<float>& o) {
  const SparseOnDevice device(in);
  const Index items = o.replicas * o.rows * device.heads;
  const unsigned blocks = sparse_blocks("grouped_attention", items, kWarps);
  const bool quads = in_quads(in.q) && in_quads(in.k) && in_quads(in.v) && in_quads(o);
  with_layout("grouped_attention", device.head_dim, quads, [&](auto layout) {
    cuda_launch("grouped_attention", grouped_attention<decltype(layout)>,
                {blocks, kThreads, 0, call.stream}, device, items, o);
  });
}

}  // namespace recallbench
