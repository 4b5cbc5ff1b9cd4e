#pragma once

#include <cstdint>

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of residual_norm.h; `bias` is empty for RMSNorm. `stream` may share memory with h.
/// `saved` [R, rows, 2] receives mean and 1 / sqrt(var + eps) of each row.
void residual_norm_forward_cuda(const CudaCall& call, std::uint32_t random_id, double p,
                                const Batched<float>& r, const Batched<float>& h,
                                const Batched<float>& weight, const Batched<float>& bias,
                                double eps, const Batched<float>& stream,
                                const Batched<float>& normalised, const Batched<float>& saved);

/// `scratch` holds norm_cuda_scratch(R, rows, D) numbers (norm_cuda.h).
void residual_norm_backward_cuda(const CudaCall& call, std::uint32_t random_id, double p,
                                 const Batched<float>& stream, const Batched<float>& weight,
                                 const Batched<float>& saved, const Batched<float>& dstream,
                                 const Batched<float>& dnormalised, bool centred,
                                 const Gradient<float>& dr, const Gradient<float>& dh,
                                 const Gradient<float>& dweight, const Gradient<float>& dbias,
                                 float* scratch);

}  // namespace recallbench
