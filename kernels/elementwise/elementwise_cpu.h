#pragma once

#include "kernels/elementwise/elementwise.h"

namespace recallbench {

/// y = a + b.
template <class T>
void add_cpu(const Batched<T>& a, const Batched<T>& b, const Batched<T>& y);
/// to = from, or to += from.
template <class T>
void copy_cpu(const Batched<T>& from, const Gradient<T>& to);
/// y = a ⊙ b, or y += that.
template <class T>
void multiply_cpu(const Batched<T>& a, const Batched<T>& b, const Batched<T>& y, bool accumulate);
/// y = f(x).
template <class T>
void activate_cpu(Activation f, const Batched<T>& x, const Batched<T>& y);
/// dx = f'(x) ⊙ dy, or dx += that.
template <class T>
void activate_backward_cpu(Activation f, const Batched<T>& x, const Batched<T>& dy,
                           const Gradient<T>& dx);
/// out = y ⊙ f(z).
template <class T>
void gate_cpu(Activation f, const Batched<T>& y, const Batched<T>& z, const Batched<T>& out);
/// dy = f(z) ⊙ dout and dz = y ⊙ f'(z) ⊙ dout, or added to what is there.
template <class T>
void gate_backward_cpu(Activation f, const Batched<T>& y, const Batched<T>& z,
                       const Batched<T>& dout, const Gradient<T>& dy, const Gradient<T>& dz);

}  // namespace recallbench
