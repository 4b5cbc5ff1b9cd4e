#pragma once

#include <algorithm>

#include "kernels/linear_attention/linear_attention_cpu.h"
#include "kernels/tensor/matrix_gradient.h"

namespace recallbench {

/// One (example, head) of one replica: rows of queries and keys, columns of the head.
template <class T>
struct LinearAttentionItem {
  Matrix<T> q, k, v, y, denominators;
  const std::int32_t* positions;

  Index position(Index query) const { return positions == nullptr ? query : positions[query]; }
  T& denominator(Index query) const { return *denominators.row(query); }
};

/// Its gradients. dk and dv have begun, and are to be added to.
template <class T>
struct LinearAttentionItemGradients {
  Matrix<T> dy;
  MatrixGradient<T> dq, dk, dv;
};

/// The two forms, for one item; scratch holds as many numbers as the functions below say.
template <class T>
void quadratic_forward(const LinearAttentionPlan& plan, const LinearAttentionItem<T>& item,
                       T* scratch);
template <class T>
void quadratic_backward(const LinearAttentionPlan& plan, const LinearAttentionItem<T>& item,
                        const LinearAttentionItemGradients<T>& gradients, T* scratch);
Index quadratic_scratch(const LinearAttentionPlan& plan, bool backward);

template <class T>
void chunked_forward(const LinearAttentionPlan& plan, const LinearAttentionItem<T>& item,
                     T* scratch);
template <class T>
void chunked_backward(const LinearAttentionPlan& plan, const LinearAttentionItem<T>& item,
                      const LinearAttentionItemGradients<T>& gradients, T* scratch);
Index chunked_scratch(const LinearAttentionPlan& plan, bool backward);
/// Whether the chunked form is the cheaper one.
bool chunked_pays(const LinearAttentionPlan& plan);

}  // namespace recallbench
