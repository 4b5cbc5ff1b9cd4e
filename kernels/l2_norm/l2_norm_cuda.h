#pragma once

#include "kernels/cuda/call.h"
#include "kernels/l2_norm/l2_norm_cpu.h"

namespace recallbench {

/// CUDA twins of l2_norm_cpu.h.
void length_norm_forward_cuda(const CudaCall& call, const LengthNormPlan& plan,
                              const Batched<float>& x, const Batched<float>& y,
                              const Batched<float>& inverse);
void length_norm_backward_cuda(const CudaCall& call, const LengthNormPlan& plan,
                               const Batched<float>& y, const Batched<float>& inverse,
                               const Batched<float>& dy, const Gradient<float>& dx);

}  // namespace recallbench
