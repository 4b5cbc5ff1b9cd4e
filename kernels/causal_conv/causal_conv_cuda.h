#pragma once

#include "kernels/cuda/call.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CUDA twins of causal_conv and of gated_conv, for sequences of `length` rows. With an empty
/// `gate` y = conv(x), otherwise y = conv(x) ⊙ gate + x; `bias` may be empty.
void causal_conv_forward_cuda(const CudaCall& call, const Batched<float>& x,
                              const Batched<float>& gate, const Batched<float>& weight,
                              const Batched<float>& bias, Index length, const Batched<float>& y);

/// What backward reads and writes; gate and dgate are empty where nothing is gated.
struct CausalConvBackward {
  Batched<float> x, gate, weight, bias, dy;
  Gradient<float> dx, dgate, dweight, dbias;
};
/// `scratch` holds causal_conv_cuda_scratch numbers. Up to four taps one pass reads x, gate and dy
/// once and writes dx and dgate once; wider filters take a pass for each.
void causal_conv_backward_cuda(const CudaCall& call, const CausalConvBackward& b, Index length,
                               float* scratch);

/// Partial weight and bias gradients, one set a block of rows.
Index causal_conv_cuda_scratch(Index replicas, Index examples, Index length, Index channels,
                               Index taps);

}  // namespace recallbench
