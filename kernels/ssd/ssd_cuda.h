#pragma once

#include "kernels/cuda/call.h"
#include "kernels/ssd/ssd_cpu.h"

namespace recallbench {

/// CUDA twins of ssd. Forward leaves the states before every chunk of tokens but the first in
/// `kept` [R, B, ssd_kept_states, ssd_kept_numbers], where it has memory; backward reads them.
void ssd_forward_cuda(const CudaCall& call, const SsdSize& size, const SsdViews<float>& in,
                      const Batched<float>& y, const Batched<float>& kept);
/// `scratch` holds ssd_cuda_scratch numbers.
void ssd_backward_cuda(const CudaCall& call, const SsdSize& size, const SsdViews<float>& in,
                       const Batched<float>& kept, const Batched<float>& dy,
                       const SsdGradients<float>& out, float* scratch);

/// Shares of tokens and parameters.
Index ssd_cuda_scratch(Index replicas, const SsdSize& size);
/// Chunks whose states are kept, and the numbers of each.
Index ssd_kept_states(const SsdSize& size);
Index ssd_kept_numbers(const SsdSize& size);

}  // namespace recallbench
