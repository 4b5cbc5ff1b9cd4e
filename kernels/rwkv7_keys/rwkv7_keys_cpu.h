#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

template <class T>
struct Rwkv7KeyViews {
  Batched<T> k, a, k_k, k_a;
};
template <class T>
struct Rwkv7KeyGradients {
  Gradient<T> k, a, k_k, k_a;
};

/// CPU twins of rwkv7_keys; scratch of backward holds rwkv7_keys_scratch numbers.
template <class T>
void rwkv7_keys_forward_cpu(Index heads, const Rwkv7KeyViews<T>& in, const Batched<T>& removal,
                            const Batched<T>& replacement);
template <class T>
void rwkv7_keys_backward_cpu(Index heads, const Rwkv7KeyViews<T>& in, const Batched<T>& dremoval,
                             const Batched<T>& dreplacement, const Rwkv7KeyGradients<T>& out,
                             T* scratch);
Index rwkv7_keys_scratch(Index rows, Index cols);

}  // namespace recallbench
