#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Both norms; `bias` is empty for RMSNorm, which subtracts no mean. `saved` [R, rows, 2] receives
/// mean and 1 / sqrt(var + eps) of each row.
template <class T>
void norm_forward_cpu(const Batched<T>& x, const Batched<T>& weight, const Batched<T>& bias,
                      double eps, const Batched<T>& y, const Batched<T>& saved);

/// `scratch` holds norm_scratch(rows, D) numbers: partial dweight and dbias, one pair a block of
/// rows.
template <class T>
void norm_backward_cpu(const Batched<T>& x, const Batched<T>& weight, const Batched<T>& saved,
                       const Batched<T>& dy, bool centred, const Gradient<T>& dx,
                       const Gradient<T>& dweight, const Gradient<T>& dbias, T* scratch);

Index norm_scratch(Index rows, Index cols);

}  // namespace recallbench
