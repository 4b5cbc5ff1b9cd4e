#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

template <class T>
struct TokenBonusViews {
  Batched<T> o, r, k, v, weight;
};
template <class T>
struct TokenBonusGradients {
  Gradient<T> o, r, k, v, weight;
};

/// CPU twins of token_bonus; scratch of backward holds token_bonus_scratch numbers.
template <class T>
void token_bonus_forward_cpu(const TokenBonusViews<T>& in, const Batched<T>& y);
template <class T>
void token_bonus_backward_cpu(const TokenBonusViews<T>& in, const Batched<T>& dy,
                              const TokenBonusGradients<T>& out, T* scratch);
Index token_bonus_scratch(Index rows, Index cols);

}  // namespace recallbench
