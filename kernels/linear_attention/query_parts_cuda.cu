// Parts of dq that slices of the keys left, added in order. Floor: the parts that a query sees are
// read once, dq written once, 4 bytes each.
#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/runtime.h"
#include "kernels/linear_attention/forms_cuda.h"

namespace recallbench {
namespace {

constexpr Index kTileKeys = 64;       // a slice is made of whole tiles
constexpr Index kWantedBlocks = 264;  // two for each multiprocessor of a large GPU
constexpr unsigned kThreads = 256;

__global__ void add_query_parts(LinearAttentionCuda c, Index slice_keys, Gradient<float> parts,
                                Gradient<float> dq) {
  after_previous();
  const Index at = blockIdx.x * Index{kThreads} + threadIdx.x;
  const Batched<float>&from = parts.view, &to = dq.view;
  if (at >= from.replica_stride) return;
  const Index r = blockIdx.y, row = at / from.cols, col = at % from.cols;
  const Index position = c.tensors.positions == nullptr
                             ? row % c.plan.queries
                             : c.tensors.positions[r * c.plan.examples * c.plan.queries + row];
  float sum = 0;
  for (Index s = 0; s <= position / slice_keys; ++s)
    sum += from.data[(s * from.replicas + r) * from.replica_stride + at];
  float* place = to.data + r * to.replica_stride + row * to.stride + col;
  *place = dq.accumulate ? *place + sum : sum;
}

}  // namespace

KeySlices::KeySlices(const LinearAttentionPlan& plan) {
  const Index tiles = (plan.length + kTileKeys - 1) / kTileKeys;
  const Index wanted = std::min(tiles, (kWantedBlocks + plan.items() - 1) / plan.items());
  const Index tiles_each = (tiles + wanted - 1) / wanted;
  count = (tiles + tiles_each - 1) / tiles_each;
  keys = tiles_each * kTileKeys;
}

Index KeySlices::scratch(const LinearAttentionPlan& plan, Index replicas) const {
  return count == 1 ? 0 : count * replicas * plan.items() * plan.queries * plan.features;
}

Gradient<float> query_parts(const LinearAttentionCuda& c, float* parts, const Gradient<float>& dq) {
  const Index rows = c.tensors.q.rows, cols = c.tensors.q.cols;
  return {{parts, c.tensors.q.replicas, rows, cols, cols, rows * cols}, dq.wanted, false};
}

void add_query_parts_cuda(const CudaCall& call, const LinearAttentionCuda& c,
                          const KeySlices& slices, float* parts, const Gradient<float>& dq) {
  if (!dq.wanted) return;
  const Gradient<float> from = query_parts(c, parts, dq);
  const dim3 blocks(static_cast<unsigned>((from.view.replica_stride + kThreads - 1) / kThreads),
                    static_cast<unsigned>(from.view.replicas));
  cuda_launch("linear_attention add_query_parts", add_query_parts,
              {blocks, kThreads, 0, call.stream}, c, slices.keys, from, dq);
}

}  // namespace recallbench
