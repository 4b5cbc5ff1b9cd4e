#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CPU twins of shift_ssm_filter and diagonal_ssm_filter.
template <class T>
void shift_ssm_filter_cpu(const Batched<T>& b, const Batched<T>& c, const Batched<T>& d,
                          const Batched<T>& filter);
template <class T>
void shift_ssm_filter_backward_cpu(const Batched<T>& b, const Batched<T>& c,
                                   const Batched<T>& dfilter, const Gradient<T>& db,
                                   const Gradient<T>& dc, const Gradient<T>& dd);

template <class T>
struct DiagonalSsmViews {
  Batched<T> c, b, log_decay, frequency, log_dt;
};
template <class T>
struct DiagonalSsmGradients {
  Gradient<T> c, b, log_decay, frequency, log_dt, d;
};

template <class T>
void diagonal_ssm_filter_cpu(const DiagonalSsmViews<T>& in, const Batched<T>& d,
                             const Batched<T>& filter);
template <class T>
void diagonal_ssm_filter_backward_cpu(const DiagonalSsmViews<T>& in, const Batched<T>& dfilter,
                                      const DiagonalSsmGradients<T>& out);

}  // namespace recallbench
