#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CPU twins of `sine` and `exponential_window`: a filter has few numbers, so one thread does.
template <class T>
void sine_forward_cpu(const Batched<T>& x, const Batched<T>& frequency, const Batched<T>& y);
template <class T>
void sine_backward_cpu(const Batched<T>& x, const Batched<T>& frequency, const Batched<T>& dy,
                       const Gradient<T>& dx, const Gradient<T>& dfrequency);

/// y = h ⊙ window, or y += that.
template <class T>
void exponential_window_cpu(const Batched<T>& h, const Batched<T>& times, const Batched<T>& rates,
                            double shift, const Batched<T>& y, bool accumulate);

}  // namespace recallbench
