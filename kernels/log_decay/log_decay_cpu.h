#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// CPU twins of log_decay: dt, g [R, rows, H]; a_log [R, 1, H].
template <class T>
void log_decay_forward_cpu(const Batched<T>& dt, const Batched<T>& a_log, const Batched<T>& g);

/// `scratch` holds log_decay_scratch(rows, H) numbers: partial da_log, one row a block of rows.
template <class T>
void log_decay_backward_cpu(const Batched<T>& a_log, const Batched<T>& g, const Batched<T>& dg,
                            const Gradient<T>& ddt, const Gradient<T>& da_log, T* scratch);

Index log_decay_scratch(Index rows, Index heads);

}  // namespace recallbench
