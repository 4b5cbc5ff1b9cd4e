#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

enum class Activation;

/// CUDA twins of elementwise_cpu.h; y may share memory with an input.
void add_cuda(const CudaCall& call, const Batched<float>& a, const Batched<float>& b,
              const Batched<float>& y);
/// to = from, or to += from.
void copy_cuda(const CudaCall& call, const Batched<float>& from, const Gradient<float>& to);
/// y = a ⊙ b, or y += that.
void multiply_cuda(const CudaCall& call, const Batched<float>& a, const Batched<float>& b,
                   const Gradient<float>& y);
void activate_cuda(const CudaCall& call, Activation f, const Batched<float>& x,
                   const Batched<float>& y);
/// dx = f'(x) ⊙ dy, or dx += that.
void activate_backward_cuda(const CudaCall& call, Activation f, const Batched<float>& x,
                            const Batched<float>& dy, const Gradient<float>& dx);

}  // namespace recallbench
