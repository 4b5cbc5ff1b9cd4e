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
void multiply_cuda(const CudaCall& call, const Batched<float>& a, const Batched<float>& b,
                   const Batched<float>& y);
void multiply_backward_cuda(const CudaCall& call, const Batched<float>& a, const Batched<float>& b,
                            const Batched<float>& dy, const Gradient<float>& da,
                            const Gradient<float>& db);
void activate_cuda(const CudaCall& call, Activation f, const Batched<float>& x,
                   const Batched<float>& y);
/// dx = f'(x) ⊙ dy, or dx += that.
void activate_backward_cuda(const CudaCall& call, Activation f, const Batched<float>& x,
                            const Batched<float>& dy, const Gradient<float>& dx);
/// out = y ⊙ f(z).
void gate_cuda(const CudaCall& call, Activation f, const Batched<float>& y, const Batched<float>& z,
               const Batched<float>& out);
/// dy = f(z) ⊙ dout and dz = y ⊙ f'(z) ⊙ dout, or added to what is there.
void gate_backward_cuda(const CudaCall& call, Activation f, const Batched<float>& y,
                        const Batched<float>& z, const Batched<float>& dout,
                        const Gradient<float>& dy, const Gradient<float>& dz);

}  // namespace recallbench
