#pragma once

#include "kernels/ssd/ssd_cpu.h"
#include "kernels/tensor/matrix_gradient.h"

namespace recallbench {

/// One (example, group) of one replica: rows of its tokens, columns of the group's heads.
template <class T>
struct SsdItem {
  Matrix<T> x, dt, b, c;
  const T *dt_bias, *a_log, *d;
};

/// Its gradients. The sums over the tokens (one a head; d: one a head or a channel) are always
/// written.
template <class T>
struct SsdItemGradients {
  Matrix<T> dy;
  MatrixGradient<T> x, dt, b, c;
  T *dt_bias, *a_log, *d;
};

template <class T>
void ssd_chunked_forward(const SsdSize& size, const SsdItem<T>& item, const Matrix<T>& y,
                         T* scratch);
template <class T>
void ssd_chunked_backward(const SsdSize& size, const SsdItem<T>& item,
                          const SsdItemGradients<T>& gradients, T* scratch);
Index ssd_chunked_scratch(const SsdSize& size, bool backward);

}  // namespace recallbench
