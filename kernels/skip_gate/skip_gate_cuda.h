#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// What skip_gate reads and writes; shapes as in skip_gate.h.
struct SkipGateCuda {
  Batched<float> y, x, skip, gate;
};
struct SkipGateCudaGradients {
  Gradient<float> y, x, skip, gate;
};

/// CUDA twins of skip_gate; backward's `scratch` holds skip_gate_cuda_scratch numbers.
void skip_gate_forward_cuda(const CudaCall& call, const SkipGateCuda& in,
                            const Batched<float>& out);
void skip_gate_backward_cuda(const CudaCall& call, const SkipGateCuda& in,
                             const Batched<float>& dout, const SkipGateCudaGradients& gradients,
                             float* scratch);
Index skip_gate_cuda_scratch(Index replicas, Index rows, Index cols);

}  // namespace recallbench
