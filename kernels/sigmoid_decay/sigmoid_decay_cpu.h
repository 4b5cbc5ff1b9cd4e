#pragma once

#include "kernels/sigmoid_decay/sigmoid_decay.h"

namespace recallbench {

/// CPU twins of the operations in sigmoid_decay.h.
template <class T>
void sigmoid_decay_cpu(const SigmoidDecayOptions& options, const Batched<T>& x,
                       const Batched<T>& g);
template <class T>
void sigmoid_decay_backward_cpu(const SigmoidDecayOptions& options, const Batched<T>& x,
                                const Batched<T>& dg, const Gradient<T>& dx);
template <class T>
void bounded_decay_cpu(double bound, const Batched<T>& x, const Batched<T>& g);
template <class T>
void bounded_decay_backward_cpu(double bound, const Batched<T>& x, const Batched<T>& dg,
                                const Gradient<T>& dx);
template <class T>
void decay_complement_cpu(const Batched<T>& g, const Batched<T>& y);
template <class T>
void decay_complement_backward_cpu(const Batched<T>& g, const Batched<T>& dy,
                                   const Gradient<T>& dg);

}  // namespace recallbench
