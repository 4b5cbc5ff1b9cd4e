#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// What causal_conv and gated_conv read, for sequences of `length` rows. Without a gate
/// y = act(conv(x)), where act is SiLU if `silu`; with one y = conv(x) ⊙ gate + x. `bias` may be
/// empty, and so may `gate`.
struct CausalConvCuda {
  Batched<float> x, gate, weight, bias;
  Index length;
  bool silu = false;
};
struct CausalConvCudaGradients {
  Gradient<float> x, gate, weight, bias;
};

/// CUDA twins of causal_conv and of gated_conv. `scratch` holds causal_conv_cuda_scratch numbers.
/// Up to four taps backward is one pass, which reads x, gate and dy once and writes dx and dgate
/// once; wider filters take a pass for each.
void causal_conv_forward_cuda(const CudaCall& call, const CausalConvCuda& in,
                              const Batched<float>& y);
void causal_conv_backward_cuda(const CudaCall& call, const CausalConvCuda& in,
                               const Batched<float>& dy, const CausalConvCudaGradients& out,
                               float* scratch);

/// Partial weight and bias gradients, one set a block of rows, and the gradient of the activation's
/// argument, which wide filters keep.
Index causal_conv_cuda_scratch(Index replicas, Index examples, Index length, Index channels,
                               Index taps, bool silu);

}  // namespace recallbench
