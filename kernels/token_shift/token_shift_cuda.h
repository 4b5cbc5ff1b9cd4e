#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of token_shift_cpu.h; `of_previous` is ShiftWeight::previous.
void token_shift_cuda(const CudaCall& call, bool of_previous, Index length, const Batched<float>& x,
                      const Batched<float>& weight, const Batched<float>& y);
/// `scratch` holds token_shift_cuda_scratch(R, B L, D) numbers.
void token_shift_backward_cuda(const CudaCall& call, bool of_previous, Index length,
                               const Batched<float>& x, const Batched<float>& weight,
                               const Batched<float>& dy, const Gradient<float>& dx,
                               const Gradient<float>& dweight, float* scratch);
Index token_shift_cuda_scratch(Index replicas, Index rows, Index cols);

}  // namespace recallbench
