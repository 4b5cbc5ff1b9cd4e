#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// B, L, H, P, G, N of an ssd, and the numbers of d: H, or H P.
struct SsdSize {
  Index examples, length, heads, head_dim, groups, states, skips;

  Index heads_of_group() const { return heads / groups; }
};

template <class T>
struct SsdViews {
  Batched<T> x, dt, dt_bias, a_log, b, c, d;
};
template <class T>
struct SsdGradients {
  Gradient<T> x, dt, dt_bias, a_log, b, c, d;
};

/// CPU twins of ssd; scratch holds ssd_scratch numbers.
template <class T>
void ssd_forward_cpu(const SsdSize& size, const SsdViews<T>& in, const Batched<T>& y, T* scratch);
template <class T>
void ssd_backward_cpu(const SsdSize& size, const SsdViews<T>& in, const Batched<T>& dy,
                      const SsdGradients<T>& gradients, T* scratch);
Index ssd_scratch(const SsdSize& size, bool backward);

}  // namespace recallbench
