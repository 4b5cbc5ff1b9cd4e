#pragma once

#include "kernels/dropout/dropout_mask.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// to = from ⊙ mask / (1 - p), or to += that; both [rows, cols].
template <class T>
void dropout_cpu(const DropoutMask& mask, const Matrix<T>& from, const Matrix<T>& to,
                 bool accumulate);

}  // namespace recallbench
