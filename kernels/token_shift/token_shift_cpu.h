#pragma once

#include "kernels/token_shift/shifted.h"
#include "kernels/token_shift/token_shift.h"

namespace recallbench {

/// CPU twins of token_shift over sequences of `length` rows; x and each of y [R, B·L, D], weights
/// [R, n, D].
template <class T>
void token_shift_cpu(ShiftWeight meaning, Index length, const Batched<T>& x,
                     const Batched<T>& weights, const Shifted<T>& y);
/// Scratch holds token_shift_scratch numbers.
template <class T>
void token_shift_backward_cpu(ShiftWeight meaning, Index length, const Batched<T>& x,
                              const Batched<T>& weights, const Shifted<T>& dy,
                              const Gradient<T>& dx, const Gradient<T>& dweights, T* scratch);
Index token_shift_scratch(Index examples, Index weights);

}  // namespace recallbench
