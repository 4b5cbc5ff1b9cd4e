#pragma once

#include "kernels/gated_linear_attention/gated_linear_attention.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Sizes and options of one recorded gated linear attention.
struct GatedLinearAttentionPlan {
  GatedLinearAttentionOptions options;
  Index examples, length;
  Index keys, values;  ///< K and V, of one head

  bool constant() const { return !options.constant_decays.empty(); }
  Index group() const { return options.heads / options.state_heads; }
  /// Tokens of a chunk. Between tokens of one chunk, decays that differ by key cost a pass over
  /// the keys for each pair, constant ones only a factor.
  Index chunk() const { return constant() ? 32 : 16; }
  Index chunks() const { return (length + chunk() - 1) / chunk(); }
};

/// q, k, v, g as in gated_linear_attention.h, each [R, B·L, cols]; g without memory where the
/// decays are constant.
template <class T>
struct GatedLinearAttentionViews {
  Batched<T> q, k, v, log_decay;
};
template <class T>
struct GatedLinearAttentionGradients {
  Gradient<T> dq, dk, dv, dlog_decay;
};

/// CPU twins of `gated_linear_attention`; scratch holds
/// gated_linear_attention_scratch(plan, backward) numbers.
template <class T>
void gated_linear_attention_forward_cpu(const GatedLinearAttentionPlan& plan,
                                        const GatedLinearAttentionViews<T>& in, const Batched<T>& y,
                                        T* scratch);
template <class T>
void gated_linear_attention_backward_cpu(const GatedLinearAttentionPlan& plan,
                                         const GatedLinearAttentionViews<T>& in,
                                         const Batched<T>& dy,
                                         const GatedLinearAttentionGradients<T>& out, T* scratch);
Index gated_linear_attention_scratch(const GatedLinearAttentionPlan& plan, bool backward);

}  // namespace recallbench
