// Floor: forward reads x and writes y, backward reads x and dy and writes dx, once each (B = 256,
// L = 256, D = 128: 67 and 101 MB, 16 and 24 us). Rows stay in registers between their sums and
// their output; backward reads a row ahead, and gathers the parameter gradients of a chunk of rows
// on the way, so that only 256 partial sums a column are left for a second, small launch.
#include <algorithm>

#include "kernels/norm/norm_cuda.h"
#include "kernels/norm/norm_rows.cuh"

namespace recallbench {
namespace {

constexpr Index kMostChunks = 256;  // about two blocks for each multiprocessor of a large GPU
constexpr Index kLeastRows = 32;

struct PlainSource {
  Batched<float> x;
  template <int kVec>
  __device__ void load(int replica, Index row, Index col, float (&to)[kVec]) const {
    load_numbers(place_of(x, replica, row, col), to);
  }
};

struct PlainSink {
  Gradient<float> dx;
  template <int kVec>
  __device__ void load(int replica, Index row, Index col, float (&to)[kVec]) const {
    if (dx.wanted && dx.accumulate) load_numbers(place_of(dx.view, replica, row, col), to);
  }
  template <int kVec>
  __device__ void store(int replica, Index row, Index col, const float (&from)[kVec]) const {
    if (dx.wanted) store_numbers(from, place_of(dx.view, replica, row, col));
  }
};

constexpr int kColumns = 32, kLanes = 16;

/// A block adds up 32 columns, of dweight first, then of dbias: a lane every 16th chunk, then the
/// lanes in order.
__global__ void add_parts(const float* parts, Index chunks, Index cols, Gradient<float> dweight,
                          Gradient<float> dbias) {
  __shared__ float lanes[kLanes][kColumns];
  const int column = threadIdx.x, lane = threadIdx.y;
  const Index j = blockIdx.x * Index{kColumns} + column, replica = blockIdx.y;
  const float* from = parts + replica * chunks * 2 * cols + j;
  float sum = 0;
  if (j < 2 * cols) {
#pragma unroll 8
    for (Index chunk = lane; chunk < chunks; chunk += kLanes)
      sum += from[chunk * 2 * cols];
  }
  lanes[lane][column] = sum;
  __syncthreads();
  if (lane != 0 || j >= 2 * cols) return;
  for (int k = 1; k < kLanes; ++k)
    sum += lanes[k][column];
  const auto write = [&](const Gradient<float>& d, Index col) {
    if (!d.wanted) return;
    float* place = d.view.data + replica * d.view.replica_stride + col;
    *place = d.accumulate ? *place + sum : sum;
  };
  j < cols ? write(dweight, j) : write(dbias, j - cols);
}

}  // namespace

Index norm_chunk_rows(Index rows) {
  return std::max(kLeastRows, (rows + kMostChunks - 1) / kMostChunks);
}

Index norm_chunks(Index rows) {
  return (rows + norm_chunk_rows(rows) - 1) / norm_chunk_rows(rows);
}

Index norm_cuda_scratch(Index replicas, Index rows, Index cols) {
  return replicas * norm_chunks(rows) * 2 * cols;
}

void norm_forward_cuda(const CudaCall& call, const Batched<float>& x, const Batched<float>& weight,
                       const Batched<float>& bias, double eps, const Batched<float>& y,
                       const Batched<float>& saved) {
  norm_forward_cuda(call, PlainSource{x}, in_quads(x), weight, bias, eps, y, saved);
}

void norm_backward_cuda(const CudaCall& call, const Batched<float>& x, const Batched<float>& weight,
                        const Batched<float>& saved, const Batched<float>& dy, bool centred,
                        const Gradient<float>& dx, const Gradient<float>& dweight,
                        const Gradient<float>& dbias, float* scratch) {
  norm_backward_cuda(call, PlainSink{dx}, in_quads(dx.view), x, weight, saved, dy, centred, dweight,
                     dbias, scratch);
}

void add_norm_parts_cuda(const CudaCall& call, const float* parts, Index chunks,
                         const Gradient<float>& dweight, const Gradient<float>& dbias) {
  const Batched<float>& shape = dweight.wanted ? dweight.view : dbias.view;
  const dim3 blocks(static_cast<unsigned>((2 * shape.cols + kColumns - 1) / kColumns),
                    static_cast<unsigned>(shape.replicas));
  add_parts<<<blocks, dim3(kColumns, kLanes), 0, call.stream>>>(parts, chunks, shape.cols, dweight,
                                                                dbias);
  cuda_check_launch("norm_parameter_gradients");
}

}  // namespace recallbench
