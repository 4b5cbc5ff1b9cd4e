// Floor: x read once: 65,536 rows of 384 numbers are 100 MB, 24 us. A block of 8 x 32 threads reads
// 4 numbers a thread, so that a slice of 256 rows by 128 columns has 32 independent loads in flight
// for each of its warps.
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"

namespace recallbench {
namespace {

constexpr int kLanes = 8;          // rows that a block reads at a time
constexpr Index kSliceRows = 256;  // rows of a block

Index slices_of(Index rows) {
  return (rows + kSliceRows - 1) / kSliceRows;
}

/// part[r, slice, j] = Σ of column j over the slice's rows: each lane its own rows, then the lanes
/// in order. A thread has kVec columns.
template <int kVec>
__global__ void slice_sums(Batched<float> x, float* parts) {
  after_previous();
  __shared__ float lanes[kLanes][32 * kVec];
  const int lane = threadIdx.y, column = threadIdx.x * kVec;
  const Index j = blockIdx.x * Index{32 * kVec} + column;
  const Index first = blockIdx.y * kSliceRows, last = min(first + kSliceRows, x.rows);
  const float* data = x.data + blockIdx.z * x.replica_stride + j;
  float sum[kVec] = {};
  if (j < x.cols) {
#pragma unroll 8
    for (Index i = first + lane; i < last; i += kLanes) {
      float numbers[kVec];
      load_numbers(data + i * x.stride, numbers);
#pragma unroll
      for (int k = 0; k < kVec; ++k)
        sum[k] += numbers[k];
    }
  }
#pragma unroll
  for (int k = 0; k < kVec; ++k)
    lanes[lane][column + k] = sum[k];
  __syncthreads();
  const int mine = threadIdx.y * 32 + threadIdx.x;
  const Index to = blockIdx.x * Index{32 * kVec} + mine;
  if (mine >= 32 * kVec || to >= x.cols) return;
  float total = 0;
#pragma unroll
  for (int k = 0; k < kLanes; ++k)
    total += lanes[k][mine];
  parts[(blockIdx.z * Index{gridDim.y} + blockIdx.y) * x.cols + to] = total;
}

}  // namespace

Index column_sums_scratch(Index replicas, Index rows, Index cols) {
  return replicas * slices_of(rows) * cols;
}

void column_sums_cuda(const CudaCall& call, const Batched<float>& x, const Gradient<float>& sums,
                      float* scratch) {
  if (!sums.wanted) return;
  const bool quads = in_quads(x);
  const Index columns = quads ? 128 : 32, slices = slices_of(x.rows);
  const dim3 blocks(static_cast<unsigned>((x.cols + columns - 1) / columns),
                    static_cast<unsigned>(slices), static_cast<unsigned>(x.replicas));
  const auto kernel = quads ? slice_sums<4> : slice_sums<1>;
  cuda_launch("slice_sums", kernel, {blocks, dim3(32, kLanes), 0, call.stream}, x, scratch);
  sum_slices_cuda(call, scratch, slices, x.cols, sums);
}

void sum_slices_cuda(const CudaCall& call, const float* parts, Index slices, Index count,
                     const Gradient<float>& to) {
  sum_partials_cuda(call, to.view.replicas, {parts, slices, count, 0, to, {}});
}

}  // namespace recallbench
