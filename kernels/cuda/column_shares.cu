// Floor: the shares read and the gradient written once.
#include "kernels/cuda/column_shares.h"

#include "kernels/cuda/runtime.h"

namespace recallbench {
namespace {

__global__ void add_shares(const float* parts, Index tiles, Index count, Gradient<float> to) {
  const Index i = blockIdx.x * Index{blockDim.x} + threadIdx.x, replica = blockIdx.y;
  if (i >= count) return;
  const float* from = parts + replica * tiles * count + i;
  float sum = from[0];
  for (Index tile = 1; tile < tiles; ++tile)
    sum += from[tile * count];
  float* place = to.view.data + replica * to.view.replica_stride +
                 i / to.view.cols * to.view.stride + i % to.view.cols;
  *place = to.accumulate ? *place + sum : sum;
}

}  // namespace

ColumnShare column_share(const Gradient<float>& gradient, Index tiles, float*& scratch) {
  if (tiles == 1 || !gradient.wanted) return {gradient, 0};
  const Batched<float>& v = gradient.view;
  const Index count = v.rows * v.cols;
  const ColumnShare share{
      {{scratch, v.replicas, v.rows, v.cols, v.cols, tiles * count}, true, false}, count};
  scratch += v.replicas * tiles * count;
  return share;
}

void add_column_shares(const CudaCall& call, const ColumnShare& share, Index tiles,
                       const Gradient<float>& gradient) {
  if (share.tile_stride == 0) return;
  constexpr unsigned kThreads = 256;
  const dim3 blocks(static_cast<unsigned>((share.tile_stride + kThreads - 1) / kThreads),
                    static_cast<unsigned>(gradient.view.replicas));
  add_shares<<<blocks, kThreads, 0, call.stream>>>(share.to.view.data, tiles, share.tile_stride,
                                                   gradient);
  cuda_check_launch("add_column_shares");
}

}  // namespace recallbench
