#pragma once

#include "kernels/token_shift/token_shift.h"

namespace recallbench {

/// CPU twins of token_shift over sequences of `length` rows; x, y [R, B·L, D].
template <class T>
void token_shift_cpu(ShiftWeight meaning, Index length, const Batched<T>& x,
                     const Batched<T>& weight, const Batched<T>& y);
/// Scratch holds token_shift_scratch numbers.
template <class T>
void token_shift_backward_cpu(ShiftWeight meaning, Index length, const Batched<T>& x,
                              const Batched<T>& weight, const Batched<T>& dy, const Gradient<T>& dx,
                              const Gradient<T>& dweight, T* scratch);
Index token_shift_scratch(Index examples, Index cols);

}  // namespace recallbench
