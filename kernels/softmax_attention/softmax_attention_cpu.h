#pragma once

#include <cstdint>
#include <optional>

#include "kernels/dropout/dropout_mask.h"
#include "kernels/tensor/matrix_gradient.h"

namespace recallbench {

/// What is fixed at recording: see softmax_attention.h. Widths are a head's; `reach` is the window,
/// L where there is none.
struct AttentionSizes {
  Index examples, queries, keys, heads, key_width, value_width;
  double scale;
  Index reach;
  bool at_labels;

  /// Queries that are worked on at a time.
  Index query_block() const;
  /// Numbers from row to row of a block of scores.
  Index score_stride() const;
  /// Numbers of working memory: of one group of (example, head) pairs, and in all.
  Index slot_forward() const;
  Index slot_backward() const;
  Index scratch_forward() const;
  Index scratch_backward() const;
};

/// One replica: q, o [B·Lq, H·dh or dv]; k, v [B·L, ...]; log_sum [B·H, Lq], the logarithm of each
/// row's Σ exp(s_j); positions [B, Lq] or null (query i at position i); mask where there is
/// dropout.
template <class T>
struct AttentionReplica {
  Matrix<T> q, k, v, o, log_sum;
  const std::int32_t* positions;
  std::optional<DropoutMask> mask;
};

/// Writes o and log_sum.
template <class T>
void softmax_attention_forward_cpu(const AttentionSizes& sizes, const AttentionReplica<T>& a,
                                   T* scratch);

/// From o, log_sum and d_o to those of dq, dk and dv that are wanted.
template <class T>
void softmax_attention_backward_cpu(const AttentionSizes& sizes, const AttentionReplica<T>& a,
                                    const Matrix<T>& d_o, const MatrixGradient<T>& dq,
                                    const MatrixGradient<T>& dk, const MatrixGradient<T>& dv,
                                    T* scratch);

}  // namespace recallbench
