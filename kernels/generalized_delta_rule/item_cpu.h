#pragma once

#include "kernels/generalized_delta_rule/generalized_delta_rule_cpu.h"
#include "kernels/tensor/matrix_gradient.h"

namespace recallbench {

/// One (example, head) of one replica: its L rows, the columns of its head.
template <class T>
struct GeneralizedDeltaItem {
  Matrix<T> q, k, v, log_decay, removal, rate;
};

/// Where its gradients go.
template <class T>
struct GeneralizedDeltaItemGradients {
  MatrixGradient<T> dq, dk, dv, dlog_decay, dremoval, drate;
};

/// The chunked form for one item; scratch holds generalized_delta_chunk_scratch numbers.
template <class T>
void generalized_delta_forward(const GeneralizedDeltaRulePlan& plan,
                               const GeneralizedDeltaItem<T>& item, const Matrix<T>& y, T* scratch);
template <class T>
void generalized_delta_backward(const GeneralizedDeltaRulePlan& plan,
                                const GeneralizedDeltaItem<T>& item, const Matrix<T>& dy,
                                const GeneralizedDeltaItemGradients<T>& gradients, T* scratch);
Index generalized_delta_chunk_scratch(const GeneralizedDeltaRulePlan& plan, bool backward);

}  // namespace recallbench
