#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

struct LengthNormPlan {
  Index heads;
  bool by_sum;  ///< the length of a row is its sum, not its Euclidean length
  double eps;   ///< of l2_norm
};

/// CPU twins of l2_norm and sum_norm. x, y [R, rows, H·D]; `inverse` [R, rows, H] receives
/// 1 / length of each head.
template <class T>
void length_norm_forward_cpu(const LengthNormPlan& plan, const Batched<T>& x, const Batched<T>& y,
                             const Batched<T>& inverse);
template <class T>
void length_norm_backward_cpu(const LengthNormPlan& plan, const Batched<T>& y,
                              const Batched<T>& inverse, const Batched<T>& dy,
                              const Gradient<T>& dx);

}  // namespace recallbench
