#include "kernels/matmul/linear_cuda.h"

#include <algorithm>

#include "kernels/cuda/branch.h"
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/partial_sums.h"
#include "kernels/matmul/gemm_cuda.h"
#include "kernels/matmul/streamed_product_cuda.h"
#include "kernels/matmul/weight_gradient_cuda.h"

namespace recallbench {
namespace {

// A weight gradient is a small matrix with a very long inner sum: in one piece it would fill one
// or two multiprocessors. Slices are computed as a batch and added in order. Their number follows
// from the sizes of one replica alone, so the bits do too.
constexpr Index kTile = 128;  // of cuBLAS, roughly: tiles of the result that run side by side
constexpr Index kWantedTiles = 264;  // two for each multiprocessor of a large GPU
constexpr Index kShortest = 256;     // rows of a slice, at least

Index slices_of(Index rows, Index out, Index in) {
  const Index tiles = ((out + kTile - 1) / kTile) * ((in + kTile - 1) / kTile);
  Index slices = 1;
  while (rows % (2 * slices) == 0 && rows / (2 * slices) >= kShortest &&
         2 * slices * tiles <= kWantedTiles)
    slices *= 2;
  return slices;
}

/// dx = dy · weight, or += that.
void input_gradient(const CudaCall& call, const Batched<float>& weight, const Batched<float>& dy,
                    const Gradient<float>& dx) {
  const StreamedProduct streamed{
      .a = dy, .weight = weight, .transposed = true, .c = dx.view, .accumulate = dx.accumulate};
  if (streamed_product_fits(call, streamed)) return streamed_product_cuda(call, streamed);
  gemm_cuda(call, {.a = gemm_operand(dy),
                   .b = gemm_operand(weight),
                   .accumulate = dx.accumulate,
                   .c = dx.view.data,
                   .c_stride = dx.view.stride,
                   .c_batch_stride = dx.view.replica_stride,
                   .batch = dy.replicas});
}

}  // namespace

Index linear_cuda_scratch(Index replicas, Index rows, Index out, Index in) {
  return std::max({replicas * slices_of(rows, out, in) * out * in,
                   column_sums_scratch(replicas, rows, out),
                   weight_gradient_scratch(replicas, rows, out, in)});
}

void linear_forward_cuda(const CudaCall& call, const Batched<float>& x,
                         const Batched<float>& weight, const Batched<float>& bias,
                         const Batched<float>& y) {
  const StreamedProduct streamed{.a = x, .weight = weight, .bias = bias, .c = y};
  if (streamed_product_fits(call, streamed)) return streamed_product_cuda(call, streamed);
  gemm_cuda(call, {.tb = Transpose::yes,
                   .a = gemm_operand(x),
                   .b = gemm_operand(weight),
                   .c = y.data,
                   .c_stride = y.stride,
                   .c_batch_stride = y.replica_stride,
                   .batch = y.replicas,
                   .bias = bias.data,
                   .bias_batch_stride = bias.replica_stride});
}

void linear_backward_cuda(const CudaCall& call, const Batched<float>& x,
                          const Batched<float>& weight, const Batched<float>& dy,
                          const Gradient<float>& dx, const Gradient<float>& dweight,
                          const Gradient<float>& dbias, float* scratch) {
  // Both gradients read dy and neither needs the other: side by side, where cuBLAS makes but one.
  const bool fused = dweight.wanted && weight_gradient_fits(call, x, dy);
  const bool beside = fused && dx.wanted;
  const CudaCall branch = beside ? cuda_fork(call, Branch::operation) : call;
  if (dx.wanted) input_gradient(call, weight, dy, dx);
  if (fused) {
    weight_gradient_cuda(branch, x, dy, dweight, dbias, scratch);
    if (beside) cuda_join(call, Branch::operation);
    return;
  }
  CudaCall at_once = call;  // the sums' parts lie in one place, one after the other
  at_once.late_sums = nullptr;
  if (dweight.wanted) {
    const Index out = dy.cols, in = x.cols, slices = slices_of(x.rows, out, in);
    // A batch of R · slices needs one stride: each replica's slices go in a call of their own.
    for (Index r = 0; r < x.replicas; ++r) {
      const Index rows = x.rows / slices;
      const Matrix<float> xr = x.replica(r), dyr = dy.replica(r);
      gemm_cuda(call, {.ta = Transpose::yes,
                       .a = {dyr.data, rows, out, dyr.stride, rows * dyr.stride},
                       .b = {xr.data, rows, in, xr.stride, rows * xr.stride},
                       .c = scratch + r * slices * out * in,
                       .c_stride = in,
                       .c_batch_stride = out * in,
                       .batch = slices});
    }
    sum_slices_cuda(at_once, scratch, slices, out * in, dweight);
  }
  column_sums_cuda(at_once, dy, dbias, scratch);
}

}  // namespace recallbench
