#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// What gated_conv reads; sequences have `length` rows.
template <class T>
struct GatedConvViews {
  Batched<T> u, gate, weight, bias;
  Index length;
};
template <class T>
struct GatedConvGradients {
  Gradient<T> u, gate, weight, bias;
};

/// CPU twins of gated_conv; `scratch` holds gated_conv_scratch numbers.
template <class T>
void gated_conv_forward_cpu(const GatedConvViews<T>& in, const Batched<T>& y, T* scratch);
template <class T>
void gated_conv_backward_cpu(const GatedConvViews<T>& in, const Batched<T>& dy,
                             const GatedConvGradients<T>& out, T* scratch);

/// What causal_conv needs and, for backward, one more tensor of the size of u.
Index gated_conv_scratch(Index replicas, Index examples, Index length, Index channels, Index taps,
                         bool backward);

}  // namespace recallbench
