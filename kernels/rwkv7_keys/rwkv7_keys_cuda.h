#pragma once

#include "kernels/cuda/call.h"
#include "kernels/rwkv7_keys/rwkv7_keys_cpu.h"

namespace recallbench {

/// CUDA twins of rwkv7_keys_cpu.h; backward's `scratch` holds rwkv7_keys_cuda_scratch(R, rows, D)
/// numbers.
void rwkv7_keys_forward_cuda(const CudaCall& call, Index heads, const Rwkv7KeyViews<float>& in,
                             const Rwkv7KeyOutputs<float>& out);
void rwkv7_keys_backward_cuda(const CudaCall& call, Index heads, const Rwkv7KeyViews<float>& in,
                              const Rwkv7KeyOutputs<float>& d, const Rwkv7KeyGradients<float>& out,
                              float* scratch);
Index rwkv7_keys_cuda_scratch(Index replicas, Index rows, Index cols);

}  // namespace recallbench
