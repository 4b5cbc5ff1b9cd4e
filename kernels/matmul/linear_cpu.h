#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CPU twins of `linear` (matmul.h). x [R, n, in], weight [R, out, in], bias [R, 1, out] or empty.
template <class T>
void linear_forward_cpu(const Batched<T>& x, const Batched<T>& weight, const Batched<T>& bias,
                        const Batched<T>& y);
/// `scratch` holds linear_scratch(n, out, in) numbers.
template <class T>
void linear_backward_cpu(const Batched<T>& x, const Batched<T>& weight, const Batched<T>& dy,
                         const Gradient<T>& dx, const Gradient<T>& dweight,
                         const Gradient<T>& dbias, T* scratch);

/// Partial weight and bias gradients, one a block of rows.
Index linear_scratch(Index rows, Index out, Index in);

}  // namespace recallbench
