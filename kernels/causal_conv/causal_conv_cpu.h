#pragma once

#include "kernels/causal_conv/causal_conv.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// What causal_conv reads, for sequences of `length` rows; `bias` may be empty.
template <class T>
struct CausalConvViews {
  Batched<T> x, weight, bias;
  Index length;
  ConvActivation activation = ConvActivation::none;
};
template <class T>
struct CausalConvGradients {
  Gradient<T> x, weight, bias;
};

/// CPU twins of causal_conv. `scratch` holds causal_conv_scratch(...) numbers.
template <class T>
void causal_conv_forward_cpu(const CausalConvViews<T>& in, const Batched<T>& y, T* scratch);
template <class T>
void causal_conv_backward_cpu(const CausalConvViews<T>& in, const Batched<T>& dy,
                              const CausalConvGradients<T>& out, T* scratch);

/// Weights by taps, partial gradients, one set a block of examples, and where there is an
/// activation the gradient of its argument, of one example of each block.
Index causal_conv_scratch(Index examples, Index length, Index channels, Index taps,
                          ConvActivation activation);

}  // namespace recallbench
