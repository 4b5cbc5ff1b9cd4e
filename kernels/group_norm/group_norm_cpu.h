#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CPU twins of group_norm; x, y [R, rows, D], saved [R, rows, 2 · groups]: each group's mean and
/// 1 / sqrt(var + eps). Scratch of backward holds group_norm_scratch numbers.
template <class T>
void group_norm_forward_cpu(Index groups, double eps, const Batched<T>& x, const Batched<T>& weight,
                            const Batched<T>& bias, const Batched<T>& y, const Batched<T>& saved);
template <class T>
void group_norm_backward_cpu(Index groups, const Batched<T>& x, const Batched<T>& weight,
                             const Batched<T>& saved, const Batched<T>& dy, const Gradient<T>& dx,
                             const Gradient<T>& dweight, const Gradient<T>& dbias, T* scratch);
Index group_norm_scratch(Index rows, Index cols);

}  // namespace recallbench
