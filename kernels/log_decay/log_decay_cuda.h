#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of log_decay_cpu.h; backward's `scratch` holds log_decay_cuda_scratch(R, rows, H)
/// numbers.
void log_decay_forward_cuda(const CudaCall& call, const Batched<float>& dt,
                            const Batched<float>& a_log, const Batched<float>& g);
void log_decay_backward_cuda(const CudaCall& call, const Batched<float>& a_log,
                             const Batched<float>& g, const Batched<float>& dg,
                             const Gradient<float>& ddt, const Gradient<float>& da_log,
                             float* scratch);
Index log_decay_cuda_scratch(Index replicas, Index rows, Index heads);

}  // namespace recallbench
