#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

template <class T>
struct Rwkv7KeyViews {
  Batched<T> k, logit, k_k, k_a;
};
/// Or their gradients.
template <class T>
struct Rwkv7KeyOutputs {
  Batched<T> removal, replacement, rate;
};
template <class T>
struct Rwkv7KeyGradients {
  Gradient<T> k, logit, k_k, k_a;
};

/// CPU twins of rwkv7_keys; scratch of backward holds rwkv7_keys_scratch numbers.
template <class T>
void rwkv7_keys_forward_cpu(Index heads, const Rwkv7KeyViews<T>& in, const Rwkv7KeyOutputs<T>& out);
template <class T>
void rwkv7_keys_backward_cpu(Index heads, const Rwkv7KeyViews<T>& in, const Rwkv7KeyOutputs<T>& d,
                             const Rwkv7KeyGradients<T>& out, T* scratch);
Index rwkv7_keys_scratch(Index rows, Index cols);

}  // namespace recallbench
