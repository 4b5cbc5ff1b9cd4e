#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of head_outer and head_inner.
void head_outer_cuda(const CudaCall& call, const Batched<float>& k, const Batched<float>& v,
                     Index head_dim, const Batched<float>& p);
void head_outer_backward_cuda(const CudaCall& call, const Batched<float>& k,
                              const Batched<float>& v, const Batched<float>& dp, Index head_dim,
                              const Gradient<float>& dk, const Gradient<float>& dv);

void head_inner_cuda(const CudaCall& call, const Batched<float>& q, const Batched<float>& p,
                     Index head_dim, const Batched<float>& o);
void head_inner_backward_cuda(const CudaCall& call, const Batched<float>& q,
                              const Batched<float>& p, const Batched<float>& d_o, Index head_dim,
                              const Gradient<float>& dq, const Gradient<float>& dp);

}  // namespace recallbench
