#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of filter_cpu.h.
void sine_forward_cuda(const CudaCall& call, const Batched<float>& x,
                       const Batched<float>& frequency, const Batched<float>& y);
void sine_backward_cuda(const CudaCall& call, const Batched<float>& x,
                        const Batched<float>& frequency, const Batched<float>& dy,
                        const Gradient<float>& dx, const Gradient<float>& dfrequency);
/// y = h ⊙ window, or y += that.
void exponential_window_cuda(const CudaCall& call, const Batched<float>& h,
                             const Batched<float>& times, const Batched<float>& rates, double shift,
                             const Gradient<float>& y);

}  // namespace recallbench
