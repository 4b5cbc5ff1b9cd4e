#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Outputs of one token_shift, at most.
constexpr Index kMostShifts = 8;

/// The outputs of a token_shift, or their gradients: as many as its weights have rows.
template <class T>
struct Shifted {
  Batched<T> of[kMostShifts];
};

}  // namespace recallbench
