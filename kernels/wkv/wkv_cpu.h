#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// B, L, C of a wkv.
struct WkvSize {
  Index examples, length, channels;
};

template <class T>
struct WkvViews {
  Batched<T> k, v, time_decay, time_first;
};
template <class T>
struct WkvGradients {
  Gradient<T> k, v, time_decay, time_first;
};

/// CPU twins of wkv; y is read again in backward, whose scratch holds wkv_scratch numbers.
template <class T>
void wkv_forward_cpu(const WkvSize& size, const WkvViews<T>& in, const Batched<T>& y);
template <class T>
void wkv_backward_cpu(const WkvSize& size, const WkvViews<T>& in, const Batched<T>& y,
                      const Batched<T>& dy, const WkvGradients<T>& out, T* scratch);
Index wkv_scratch(const WkvSize& size);

}  // namespace recallbench
