#pragma once

#include "kernels/delta_rule/delta_rule_cpu.h"
#include "kernels/tensor/matrix_gradient.h"

namespace recallbench {

/// One (example, head) of one replica: rows of tokens, columns of the head. `beta` and `log_decay`
/// have one column, or no data; a kept state is a row of `states`.
template <class T>
struct DeltaRuleItem {
  Matrix<T> q, k, v, beta, log_decay, states;
};

/// Where its gradients go.
template <class T>
struct DeltaRuleItemGradients {
  Matrix<T> dy;
  MatrixGradient<T> q, k, v, beta, log_decay;
};

/// For one item; scratch holds chunked_scratch numbers.
template <class T>
void chunked_forward(const DeltaRulePlan& plan, const DeltaRuleItem<T>& item, const Matrix<T>& y,
                     T* scratch);
template <class T>
void chunked_backward(const DeltaRulePlan& plan, const DeltaRuleItem<T>& item,
                      const DeltaRuleItemGradients<T>& gradients, T* scratch);
Index chunked_scratch(const DeltaRulePlan& plan, bool backward);
/// States of an item that the chunked form keeps: one before each chunk but the first.
Index chunked_states(const DeltaRulePlan& plan);

}  // namespace recallbench
