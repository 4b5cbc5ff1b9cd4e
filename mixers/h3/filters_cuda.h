#pragma once

#include "kernels/cuda/call.h"
#include "mixers/h3/filters_cpu.h"

namespace recallbench {

/// CUDA twins of shift_ssm_filter and diagonal_ssm_filter.
void shift_ssm_filter_cuda(const CudaCall& call, const Batched<float>& b, const Batched<float>& c,
                           const Batched<float>& d, const Batched<float>& filter);
void shift_ssm_filter_backward_cuda(const CudaCall& call, const Batched<float>& b,
                                    const Batched<float>& c, const Batched<float>& dfilter,
                                    const Gradient<float>& db, const Gradient<float>& dc,
                                    const Gradient<float>& dd);

void diagonal_ssm_filter_cuda(const CudaCall& call, const DiagonalSsmViews<float>& in,
                              const Batched<float>& d, const Batched<float>& filter);
void diagonal_ssm_filter_backward_cuda(const CudaCall& call, const DiagonalSsmViews<float>& in,
                                       const Batched<float>& dfilter,
                                       const DiagonalSsmGradients<float>& out);

}  // namespace recallbench
