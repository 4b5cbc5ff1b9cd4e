#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// GatedNormOptions and tensors as kernels see them; shapes as in gated_norm_cpu.h.
struct GatedNormCuda {
  bool after_norm, silu;
  float eps;
  Batched<float> x, gate, weight, saved;
};
struct GatedNormCudaGradients {
  Gradient<float> x, gate, weight;
};

/// CUDA twins of gated_norm_cpu.h; backward's `scratch` holds gated_norm_cuda_scratch numbers.
void gated_norm_forward_cuda(const CudaCall& call, const GatedNormCuda& norm,
                             const Batched<float>& y);
void gated_norm_backward_cuda(const CudaCall& call, const GatedNormCuda& norm,
                              const Batched<float>& dy, const GatedNormCudaGradients& gradients,
                              float* scratch);
/// `groups`: of a replica, in all rows.
Index gated_norm_cuda_scratch(Index replicas, Index groups, Index width);

}  // namespace recallbench
