#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// What skip_gate reads; shapes as in skip_gate.h.
template <class T>
struct SkipGateViews {
  Batched<T> y, x, skip, gate;
};
template <class T>
struct SkipGateGradients {
  Gradient<T> y, x, skip, gate;
};

/// CPU twins of skip_gate; backward's `scratch` holds skip_gate_scratch numbers.
template <class T>
void skip_gate_forward_cpu(const SkipGateViews<T>& in, const Batched<T>& out);
template <class T>
void skip_gate_backward_cpu(const SkipGateViews<T>& in, const Batched<T>& dout,
                            const SkipGateGradients<T>& gradients, T* scratch);
Index skip_gate_scratch(Index rows, Index cols);

}  // namespace recallbench
