#pragma once

#include <cstdint>

#include "kernels/linear_attention/linear_attention.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Sizes and options of one recorded linear attention.
struct LinearAttentionPlan {
  LinearAttentionOptions options;
  Index examples, queries, length;
  Index features, values;  ///< f and dh, of one head

  Index items() const { return examples * options.heads; }
};

/// The memory of one call. q, k, v, y as in linear_attention.h, each [R, B·rows, cols];
/// denominators [R, B·n, H]; positions [R, B, n] or null where query i stands at i.
template <class T>
struct LinearAttentionTensors {
  Batched<T> q, k, v, y, denominators;
  const std::int32_t* positions;
  T* scratch;
};

template <class T>
struct LinearAttentionGradients {
  Batched<T> dy;
  Gradient<T> dq, dk, dv;
};

/// CPU twins of `linear_attention`; scratch holds linear_attention_scratch(plan, backward) numbers.
template <class T>
void linear_attention_forward_cpu(const LinearAttentionPlan& plan,
                                  const LinearAttentionTensors<T>& tensors);
template <class T>
void linear_attention_backward_cpu(const LinearAttentionPlan& plan,
                                   const LinearAttentionTensors<T>& tensors,
                                   const LinearAttentionGradients<T>& gradients);
Index linear_attention_scratch(const LinearAttentionPlan& plan, bool backward);

}  // namespace recallbench
