#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of `linear` (matmul.h). x [R, n, in], weight [R, out, in], bias [R, 1, out] or empty.
void linear_forward_cuda(const CudaCall& call, const Batched<float>& x,
                         const Batched<float>& weight, const Batched<float>& bias,
                         const Batched<float>& y);
/// `scratch` holds linear_cuda_scratch(R, n, out, in) numbers.
void linear_backward_cuda(const CudaCall& call, const Batched<float>& x,
                          const Batched<float>& weight, const Batched<float>& dy,
                          const Gradient<float>& dx, const Gradient<float>& dweight,
                          const Gradient<float>& dbias, float* scratch);

/// Slices of the weight gradient's long inner sum, and partial column sums.
Index linear_cuda_scratch(Index replicas, Index rows, Index out, Index in);

}  // namespace recallbench
