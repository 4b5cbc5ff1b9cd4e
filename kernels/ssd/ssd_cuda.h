#pragma once

#include "kernels/cuda/call.h"
#include "kernels/ssd/ssd_cpu.h"

namespace recallbench {

/// CUDA twins of ssd.
void ssd_forward_cuda(const CudaCall& call, const SsdSize& size, const SsdViews<float>& in,
                      const Batched<float>& y);
/// `scratch` holds ssd_cuda_scratch numbers.
void ssd_backward_cuda(const CudaCall& call, const SsdSize& size, const SsdViews<float>& in,
                       const Batched<float>& dy, const SsdGradients<float>& out, float* scratch);

/// The states before every chunk, and shares of tokens and parameters.
Index ssd_cuda_scratch(Index replicas, const SsdSize& size);

}  // namespace recallbench
