// Floor: forward reads x and writes y, backward reads x and dy and writes dx, once each (B = 256,
// L = 256, D = 128: 67 and 101 MB, 16 and 24 us). Rows stay in registers between their sums and
// their output; backward reads a row ahead, and gathers the parameter gradients of a chunk of rows
// on the way, so that only 256 partial sums a column are left for partial_sums.h.
#include <algorithm>

#include "kernels/cuda/partial_sums.h"
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
  sum_partials_cuda(call, shape.replicas, {parts, chunks, shape.cols, shape.cols, dweight, dbias});
}

}  // namespace recallbench
