#pragma once

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// What double_residual_norm_cuda needs besides its tensors.
struct DoubleResidualNormCuda {
  std::uint32_t random_ids[2];  ///< of the two dropouts; they count only where p > 0
  double p, eps;
  Batched<float> weight[2], bias[2];
  Batched<float> inner;  ///< r + dropout(h), kept for backward; may share memory with h
  Batched<float>
      saved[2];  ///< [R, rows, 2]: mean and 1 / sqrt(var + eps) of the rows of both norms
};

/// CUDA twins of double_residual_norm.h.
void double_residual_norm_forward_cuda(const CudaCall& call, const DoubleResidualNormCuda& norm,
                                       const Batched<float>& r, const Batched<float>& h,
                                       const Batched<float>& stream,
                                       const Batched<float>& normalised);

struct DoubleResidualNormGradients {
  Gradient<float> dr, dh, dweight[2], dbias[2];
};
/// `scratch` holds 2 norm_cuda_scratch(R, rows, D) numbers (norm_cuda.h).
void double_residual_norm_backward_cuda(const CudaCall& call, const DoubleResidualNormCuda& norm,
                                        const Batched<float>& dstream,
                                        const Batched<float>& dnormalised,
                                        const DoubleResidualNormGradients& to, float* scratch);

}  // namespace recallbench
