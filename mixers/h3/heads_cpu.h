#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CPU twins of head_outer and head_inner.
template <class T>
void head_outer_cpu(const Batched<T>& k, const Batched<T>& v, Index head_dim, const Batched<T>& p);
template <class T>
void head_outer_backward_cpu(const Batched<T>& k, const Batched<T>& v, const Batched<T>& dp,
                             Index head_dim, const Gradient<T>& dk, const Gradient<T>& dv);

template <class T>
void head_inner_cpu(const Batched<T>& q, const Batched<T>& p, Index head_dim, const Batched<T>& o);
template <class T>
void head_inner_backward_cpu(const Batched<T>& q, const Batched<T>& p, const Batched<T>& d_o,
                             Index head_dim, const Gradient<T>& dq, const Gradient<T>& dp);

}  // namespace recallbench
