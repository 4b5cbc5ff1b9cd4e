// Floor: the matrix read and written once; parameters are small (1 MB, under a microsecond), so
// the launch is what counts. Tiles go through shared memory, so that both sides are whole lines.
#include "kernels/cuda/launch.cuh"
#include "kernels/transpose/transpose_cuda.h"

namespace recallbench {
namespace {

constexpr int kTile = 32;
constexpr int kRows = 8;  // of a tile that a block handles at a time

/// `from` has blockIdx.x tiles of columns and blockIdx.y tiles of rows; blockIdx.z is the replica.
__global__ void transpose_tiles(Batched<float> from, Batched<float> to, bool accumulate) {
  after_previous();
  __shared__ float tile[kTile][kTile + 1];  // + 1: a column touches 32 banks
  const float* source = from.data + blockIdx.z * from.replica_stride;
  float* target = to.data + blockIdx.z * to.replica_stride;
  const Index first_row = blockIdx.y * Index{kTile}, first_col = blockIdx.x * Index{kTile};
  for (int k = threadIdx.y; k < kTile; k += kRows) {
    const Index i = first_row + k, j = first_col + threadIdx.x;
    if (i < from.rows && j < from.cols) tile[k][threadIdx.x] = source[i * from.stride + j];
  }
  __syncthreads();
  for (int k = threadIdx.y; k < kTile; k += kRows) {
    const Index j = first_col + k, i = first_row + threadIdx.x;
    if (i >= from.rows || j >= from.cols) continue;
    float* place = target + j * to.stride + i;
    *place = accumulate ? *place + tile[threadIdx.x][k] : tile[threadIdx.x][k];
  }
}

}  // namespace

void transpose_cuda(const CudaCall& call, const Batched<float>& from, const Gradient<float>& to) {
  if (!to.wanted) return;
  const auto tiles = [](Index n) { return static_cast<unsigned>((n + kTile - 1) / kTile); };
  check(tiles(from.rows) <= 65535, "transpose", "more rows than a GPU's grid has");
  cuda_launch("transpose", transpose_tiles,
              {dim3(tiles(from.cols), tiles(from.rows), static_cast<unsigned>(from.replicas)),
               dim3(kTile, kRows), 0, call.stream},
              from, to.view, to.accumulate);
}

}  // namespace recallbench
