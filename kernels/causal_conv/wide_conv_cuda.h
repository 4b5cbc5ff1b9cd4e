#pragma once

#include "kernels/causal_conv/causal_conv_cuda.h"

namespace recallbench {

/// causal_conv_cuda.h for any number of taps, a group of them at a time; backward leaves the
/// gradients of weight and bias as partial sums [R, slices, C K + C] in `parts`, and uses
/// `argument` [R, rows, C] where there is an activation.
void wide_conv_forward_cuda(const CudaCall& call, const CausalConvCuda& in,
                            const Batched<float>& y);
void wide_conv_backward_cuda(const CudaCall& call, const CausalConvCuda& in,
                             const Batched<float>& dy, const CausalConvCudaGradients& out,
                             float* parts, float* argument);
Index wide_conv_slices(Index examples, Index length);

}  // namespace recallbench
