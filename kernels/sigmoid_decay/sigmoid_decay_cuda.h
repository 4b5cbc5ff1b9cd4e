#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// SigmoidDecayOptions as kernels see them.
struct SigmoidDecayCuda {
  float divisor, lower_bound, clamp_min;
};

/// CUDA twins of sigmoid_decay_cpu.h.
void sigmoid_decay_cuda(const CudaCall& call, const SigmoidDecayCuda& options,
                        const Batched<float>& x, const Batched<float>& g);
void sigmoid_decay_backward_cuda(const CudaCall& call, const SigmoidDecayCuda& options,
                                 const Batched<float>& x, const Batched<float>& dg,
                                 const Gradient<float>& dx);
void bounded_decay_cuda(const CudaCall& call, float bound, const Batched<float>& x,
                        const Batched<float>& g);
void bounded_decay_backward_cuda(const CudaCall& call, float bound, const Batched<float>& x,
                                 const Batched<float>& dg, const Gradient<float>& dx);
void decay_complement_cuda(const CudaCall& call, const Batched<float>& g, const Batched<float>& y);
void decay_complement_backward_cuda(const CudaCall& call, const Batched<float>& g,
                                    const Batched<float>& dy, const Gradient<float>& dg);

}  // namespace recallbench
