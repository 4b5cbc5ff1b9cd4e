#pragma once

#include <vector>

#include "kernels/tensor/matrix_gradient.h"
#include "kernels/ttt/ttt_cpu.h"

namespace recallbench {

/// One (example, head) of one replica: rows of its tokens, columns of its head; rate has one.
template <class T>
struct TttItem {
  Matrix<T> q, k, v, rate;
  const T *step, *norm, *norm_bias;
  Matrix<T> weight[2];
  const T* bias[2];
};

/// Its gradients. The sums over the tokens are always written:
/// [step b, norm f, norm_bias f, W1, b1, W2, b2].
template <class T>
struct TttItemGradients {
  Matrix<T> d_o;
  MatrixGradient<T> q, k, v, rate;
  T* sums;
};

/// Numbers of `sums`.
Index ttt_sums(const TttSize& size);

template <class T>
void ttt_dual_forward(const TttSize& size, const TttItem<T>& item, const Matrix<T>& o, T* scratch);
template <class T>
void ttt_dual_backward(const TttSize& size, const TttItem<T>& item,
                       const TttItemGradients<T>& gradients, T* scratch);
Index ttt_dual_scratch(const TttSize& size, bool backward);

}  // namespace recallbench
