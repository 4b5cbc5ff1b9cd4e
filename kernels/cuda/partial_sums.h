#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Partial gradients of a replica, `slices` of them, each of the numbers of `first` row after row
/// and then those of `second`, side by side.
struct PartialSums {
  const float* parts;  ///< [R, slices, first + second]
  Index slices, first_count, second_count;
  Gradient<float> first, second;
};

/// first and second = Σ over the slices, or += that, in one kernel and in an order that the numbers
/// of columns and slices fix: the warps of a block share the slices, and their sums are then added
/// in order. Where both are gradients of one tensor, a kernel each, `first` first: the one adds to
/// what the other wrote.
void sum_partials_cuda(const CudaCall& call, Index replicas, const PartialSums& sums);

}  // namespace recallbench
