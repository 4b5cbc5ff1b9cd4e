#pragma once

#include "kernels/gated_linear_attention/gated_linear_attention_cpu.h"
#include "kernels/tensor/matrix_gradient.h"

namespace recallbench {

/// One (example, state head) of one replica: its L rows, the columns of its heads. `q` has those
/// of all query heads that read this state.
template <class T>
struct GatedItem {
  Matrix<T> q, k, v, log_decay;
  double constant_decay;
};

/// Where its gradients go.
template <class T>
struct GatedItemGradients {
  MatrixGradient<T> dq, dk, dv, dlog_decay;
};

/// The chunked form for one item; scratch holds gated_chunk_scratch(plan, backward) numbers.
template <class T>
void gated_forward(const GatedLinearAttentionPlan& plan, const GatedItem<T>& item,
                   const Matrix<T>& y, T* scratch);
template <class T>
void gated_backward(const GatedLinearAttentionPlan& plan, const GatedItem<T>& item,
                    const Matrix<T>& dy, const GatedItemGradients<T>& gradients, T* scratch);
Index gated_chunk_scratch(const GatedLinearAttentionPlan& plan, bool backward);

}  // namespace recallbench
