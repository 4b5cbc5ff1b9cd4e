#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CPU twins of causal_conv for sequences of `length` rows. `scratch` holds
/// causal_conv_scratch(...) numbers.
template <class T>
void causal_conv_forward_cpu(const Batched<T>& x, const Batched<T>& weight, const Batched<T>& bias,
                             Index length, const Batched<T>& y, T* scratch);
template <class T>
void causal_conv_backward_cpu(const Batched<T>& x, const Batched<T>& weight, const Batched<T>& dy,
                              Index length, const Gradient<T>& dx, const Gradient<T>& dweight,
                              const Gradient<T>& dbias, T* scratch);

/// Weights by taps, and partial gradients, one set a block of examples.
Index causal_conv_scratch(Index examples, Index channels, Index taps);

}  // namespace recallbench
