#pragma once

#include "kernels/cuda/call.h"
#include "kernels/selective_scan/selective_scan_cpu.h"

namespace recallbench {

/// CUDA twins of selective_scan. `checkpoints` [R, B, scan_checkpoints, scan_state_numbers] is
/// written where it has memory: C x N numbers, channel after channel, of each state.
void selective_scan_forward_cuda(const CudaCall& call, const ScanSize& size,
                                 const ScanViews<float>& in, const Batched<float>& y,
                                 const Batched<float>& checkpoints);
/// `scratch` holds scan_cuda_scratch numbers.
void selective_scan_backward_cuda(const CudaCall& call, const ScanSize& size,
                                  const ScanViews<float>& in, const Batched<float>& checkpoints,
                                  const Batched<float>& dy, const ScanGradients<float>& out,
                                  float* scratch);

/// Shares of the examples in da_log and dd, and of blocks of channels in db and dc.
Index scan_cuda_scratch(Index replicas, const ScanSize& size);

}  // namespace recallbench
