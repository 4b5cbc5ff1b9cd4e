#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

/// CUDA twins of LeakyAverage: x, h [R, B length, D], a [R, 1, D].
void leaky_average_cuda(const recallbench::CudaCall& call, recallbench::Index length,
                        const recallbench::Batched<float>& x, const recallbench::Batched<float>& a,
                        const recallbench::Batched<float>& h);
/// `scratch` holds R B D numbers.
void leaky_average_backward_cuda(const recallbench::CudaCall& call, recallbench::Index length,
                                 const recallbench::Batched<float>& x,
                                 const recallbench::Batched<float>& a,
                                 const recallbench::Batched<float>& h,
                                 const recallbench::Batched<float>& dh,
                                 const recallbench::Gradient<float>& dx,
                                 const recallbench::Gradient<float>& da, float* scratch);
