#include <algorithm>

#include "kernels/cuda/column_sums.h"

namespace recallbench {
namespace {

constexpr int kColumns = 32;       // of a block: one a lane, so that reads are whole lines
constexpr int kLanes = 8;          // rows that a block reads at a time
constexpr Index kSliceRows = 512;  // rows of a block

Index slices_of(Index rows) {
  return (rows + kSliceRows - 1) / kSliceRows;
}

/// part[r, slice, j] = Σ of column j over the slice's rows: each lane its own rows, then the lanes
/// in order.
__global__ void slice_sums(Batched<float> x, float* parts) {
  __shared__ float lanes[kLanes][kColumns];
  const int column = threadIdx.x, lane = threadIdx.y;
  const Index j = blockIdx.x * Index{kColumns} + column;
  const Index first = blockIdx.y * kSliceRows;
  const Index last = min(first + kSliceRows, x.rows);
  const float* data = x.data + blockIdx.z * x.replica_stride;
  float sum = 0;
  if (j < x.cols)
    for (Index i = first + lane; i < last; i += kLanes)
      sum += data[i * x.stride + j];
  lanes[lane][column] = sum;
  __syncthreads();
  if (lane != 0 || j >= x.cols) return;
  for (int k = 1; k < kLanes; ++k)
    sum += lanes[k][column];
  parts[(blockIdx.z * Index{gridDim.y} + blockIdx.y) * x.cols + j] = sum;
}

/// Rows of `to` need not lie side by side.
__global__ void add_slices(const float* parts, Index slices, Index count, Gradient<float> to) {
  const Index j = blockIdx.x * Index{blockDim.x} + threadIdx.x;
  if (j >= count) return;
  const float* from = parts + blockIdx.y * slices * count + j;
  float sum = 0;
  for (Index s = 0; s < slices; ++s)
    sum += from[s * count];
  float* place = to.view.data + blockIdx.y * to.view.replica_stride +
                 j / to.view.cols * to.view.stride + j % to.view.cols;
  *place = to.accumulate ? *place + sum : sum;
}

}  // namespace

Index column_sums_scratch(Index replicas, Index rows, Index cols) {
  return replicas * slices_of(rows) * cols;
}

void column_sums_cuda(const CudaCall& call, const Batched<float>& x, const Gradient<float>& sums,
                      float* scratch) {
  if (!sums.wanted) return;
  const Index slices = slices_of(x.rows);
  const dim3 blocks(static_cast<unsigned>((x.cols + kColumns - 1) / kColumns),
                    static_cast<unsigned>(slices), static_cast<unsigned>(x.replicas));
  slice_sums<<<blocks, dim3(kColumns, kLanes), 0, call.stream>>>(x, scratch);
  cuda_check_launch("slice_sums");
  sum_slices_cuda(call, scratch, slices, x.cols, sums);
}

void sum_slices_cuda(const CudaCall& call, const float* parts, Index slices, Index count,
                     const Gradient<float>& to) {
  constexpr unsigned kThreads = 256;
  const dim3 blocks(static_cast<unsigned>((count + kThreads - 1) / kThreads),
                    static_cast<unsigned>(to.view.replicas));
  add_slices<<<blocks, kThreads, 0, call.stream>>>(parts, slices, count, to);
  cuda_check_launch("add_slices");
}

}  // namespace recallbench
