#pragma once

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of gather_rows.h: x [R, B length, D], y [R, B labels, D], positions [R, B, labels].
void gather_rows_cuda(const CudaCall& call, const std::int32_t* positions, Index length,
                      Index labels, const Batched<float>& x, const Batched<float>& y);
/// Rows of a position that occurs more than once are added in the order of the labels.
void gather_rows_backward_cuda(const CudaCall& call, const std::int32_t* positions, Index length,
                               Index labels, const Batched<float>& dy, const Gradient<float>& dx);

}  // namespace recallbench
