#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"
#include "kernels/token_shift/shifted.h"

namespace recallbench {

/// CUDA twins of token_shift_cpu.h; `of_previous` is ShiftWeight::previous.
void token_shift_cuda(const CudaCall& call, bool of_previous, Index length, const Batched<float>& x,
                      const Batched<float>& weights, const Shifted<float>& y);
/// `scratch` holds token_shift_cuda_scratch(R, B L, n D) numbers.
void token_shift_backward_cuda(const CudaCall& call, bool of_previous, Index length,
                               const Batched<float>& x, const Batched<float>& weights,
                               const Shifted<float>& dy, const Gradient<float>& dx,
                               const Gradient<float>& dweights, float* scratch);
Index token_shift_cuda_scratch(Index replicas, Index rows, Index weights);

}  // namespace recallbench
