// Floor: the shares read and the gradient written once.
#include "kernels/cuda/column_shares.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/numbers.cuh"
#include "kernels/cuda/runtime.h"

namespace recallbench {
namespace {

/// Width numbers a thread, which are of one row: 1, or 4 where addresses allow it.
template <int Width>
__global__ void add_shares(const float* parts, Index tiles, Index count, Gradient<float> to) {
  after_previous();
  const Index i = (blockIdx.x * Index{blockDim.x} + threadIdx.x) * Width, replica = blockIdx.y;
  if (i >= count) return;
  const Batched<float>& v = to.view;
  const float* from = parts + replica * tiles * count + i;
  float* const place = v.data + replica * v.replica_stride +
                       (v.stride == v.cols ? i : i / v.cols * v.stride + i % v.cols);
  float sum[Width], x[Width];
  load_numbers(from, sum);
  for (Index tile = 1; tile < tiles; ++tile) {
    load_numbers(from + tile * count, x);
#pragma unroll
    for (int e = 0; e < Width; ++e)
      sum[e] += x[e];
  }
  write_numbers(sum, to.accumulate, place);
}

template <int Width>
void launch(const CudaCall& call, const ColumnShare& share, Index tiles,
            const Gradient<float>& gradient) {
  constexpr Index kThreads = 256, kNumbers = kThreads * Width;
  const dim3 blocks(static_cast<unsigned>((share.tile_stride + kNumbers - 1) / kNumbers),
                    static_cast<unsigned>(gradient.view.replicas));
  cuda_launch("add_column_shares", add_shares<Width>,
              {blocks, static_cast<unsigned>(kThreads), 0, call.stream}, share.to.view.data, tiles,
              share.tile_stride, gradient);
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
  if (in_quads(gradient.view) && in_quads(share.to.view))
    launch<4>(call, share, tiles, gradient);
  else
    launch<1>(call, share, tiles, gradient);
}

}  // namespace recallbench
