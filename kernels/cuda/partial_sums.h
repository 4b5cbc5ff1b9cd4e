#pragma once

#include <span>

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

/// first and second = Σ over the slices, or += that, in an order that the numbers of columns and
/// slices fix: shares of the slices, and these are then added in order. Where `call.late_sums` is
/// given and both gradients may be late, they wait there for sum_late_partials_cuda.
void sum_partials_cuda(const CudaCall& call, Index replicas, const PartialSums& sums);

/// The sums that have waited, two dozen of them a kernel; each has the bits that it would have had
/// alone.
void sum_late_partials_cuda(const CudaCall& call, std::span<const PartialSums> sums);

}  // namespace recallbench
