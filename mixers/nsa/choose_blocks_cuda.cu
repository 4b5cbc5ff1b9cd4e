// Floor: q and the compressed keys read once: at B = 256, L = 256, d = 128 that is 38 MB, 9 us. A
// warp has a query of one group of heads: it scores blocks, 8 at a time for heads of up to 64
// columns, into shared memory, and takes the highest again and again. The scores of a query do not
// depend on what else the launch computes.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/shared_memory.h"
#include "mixers/nsa/visible.cuh"

namespace recallbench {
namespace {

constexpr float kNoScore = -1000, kNoShare = 1e-10f;  // what no chosen block may be below
constexpr int kMostWarps = 4;
constexpr Index kSharedBytes = 48 * 1024;  // without asking for more

/// Scores of the first `count` blocks for the query at `row` of `group`; the highest of those and
/// kNoScore.
template <class Layout>
__device__ float score_blocks(const SparseOnDevice& s, Index replica, Index row, int group,
                              int count, float* scores) {
  const int averaged = s.heads / s.groups, kv_head = group / (s.groups / s.kv_heads);
  const Index first_key = row / s.queries * s.keys + s.memory;
  const float scale = s.scale / static_cast<float>(averaged);
  float highest = kNoScore;
  for (int start = 0; start < count; start += Layout::kRows) {
    const bool exists = start + Layout::row() < count;
    const int block = start + (exists ? Layout::row() : 0);
    RowPart<Layout> k, q;
    k.load(head_row(s.k, replica, first_key + block, kv_head * s.head_dim), s.head_dim);
    float score = 0;
    for (int h = group * averaged; h < (group + 1) * averaged; ++h) {
      q.load_any_behind(head_row(s.q, replica, row, h * s.head_dim), s.head_dim);
      score += scale * q.dot(k);
    }
    if (!exists) continue;
    highest = fmaxf(highest, score);
    if (threadIdx.x % Layout::kLanes == 0) scores[block] = score;
  }
  __syncwarp();
  return max_over_rows<Layout>(highest);
}

/// The first of the blocks with the highest score above -inf, or -1.
__device__ int best_block(const float* scores, int count) {
  int best = -1;
  float highest = -INFINITY;
  for (int w = threadIdx.x % 32; w < count; w += 32)
    if (scores[w] > highest) {
      highest = scores[w];
      best = w;
    }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, highest, offset);
    const int of_other = __shfl_xor_sync(0xffffffffu, best, offset);
    if (other > highest || (other == highest && of_other >= 0 && of_other < best)) {
      highest = other;
      best = of_other;
    }
  }
  return best;
}

template <class Layout>
__global__ void __launch_bounds__(kMostWarps * 32)
    choose_blocks(SparseOnDevice s, Index items, Batched<float> chosen) {
  after_previous();
  extern __shared__ float shared_scores[];
  const int warps = static_cast<int>(blockDim.x) / 32, lane = threadIdx.x % 32;
  const Index item = blockIdx.x * Index{warps} + threadIdx.x / 32;
  if (item >= items) return;
  const Index row_of_all = item / s.groups, rows = Index{s.examples} * s.queries;
  const Index replica = row_of_all / rows, row = row_of_all % rows;
  const int group = static_cast<int>(item % s.groups);
  float* const scores = shared_scores + threadIdx.x / 32 * (s.keys - s.memory);
  const int count = min(s.keys - s.memory, s.position(replica, row) / s.block);
  const float highest = score_blocks<Layout>(s, replica, row, group, count, scores);
  float sum = 0;
  for (int w = lane; w < count; w += 32)
    sum += expf(scores[w] - highest);
  sum = warp_sum(sum) + expf(kNoScore - highest);

  float* to = head_row(chosen, replica, row, group * s.choices);
  for (int i = 0; i < s.choices; ++i) {
    int best = best_block(scores, count);
    if (best >= 0 && !(expf(scores[best] - highest) / sum > kNoShare)) best = -1;
    __syncwarp();
    if (lane == 0) {
      to[i] = static_cast<float>(best);
      if (best >= 0) scores[best] = -INFINITY;
    }
    __syncwarp();
  }
}

}  // namespace

void choose_blocks_cuda(const CudaCall& call, const SparseInputs& in,
                        const Batched<float>& chosen) {
  const SparseOnDevice device(in);
  const Index bytes = Index{device.keys - device.memory} * Index{sizeof(float)};
  const Index warps = kMostWarps * bytes <= kSharedBytes ? kMostWarps : 1;
  const Index items = chosen.replicas * chosen.rows * device.groups;
  const unsigned blocks = sparse_blocks("choose_blocks", items, warps);
  with_layout("choose_blocks", device.head_dim, in_quads(in.q) && in_quads(in.k), [&](auto layout) {
    const auto kernel = choose_blocks<decltype(layout)>;
    const int shared = static_cast<int>(warps * bytes);
    cuda_allow_shared(kernel, shared, "choose_blocks");
    cuda_launch(
        "choose_blocks", kernel,
        {blocks, static_cast<unsigned>(warps) * 32, static_cast<unsigned>(shared), call.stream},
        device, items, chosen);
  });
}

}  // namespace recallbench
