#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of group_norm_cpu.h; backward's `scratch` holds group_norm_cuda_scratch numbers.
void group_norm_forward_cuda(const CudaCall& call, Index groups, double eps,
                             const Batched<float>& x, const Batched<float>& weight,
                             const Batched<float>& bias, const Batched<float>& y,
                             const Batched<float>& saved);
void group_norm_backward_cuda(const CudaCall& call, Index groups, const Batched<float>& x,
                              const Batched<float>& weight, const Batched<float>& saved,
                              const Batched<float>& dy, const Gradient<float>& dx,
                              const Gradient<float>& dweight, const Gradient<float>& dbias,
                              float* scratch);
Index group_norm_cuda_scratch(Index replicas, Index rows, Index cols, Index groups);

}  // namespace recallbench
