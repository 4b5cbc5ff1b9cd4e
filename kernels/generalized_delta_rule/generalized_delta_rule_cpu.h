#pragma once

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Sizes of one recorded generalized delta rule; keys and values of one head.
struct GeneralizedDeltaRulePlan {
  Index examples, length, heads, keys, values;

  static constexpr Index kChunk = 16;
  Index items() const { return examples * heads; }
  Index chunks() const { return (length + kChunk - 1) / kChunk; }
};

template <class T>
struct GeneralizedDeltaRuleViews {
  Batched<T> q, k, v, log_decay, removal, rate;
};
template <class T>
struct GeneralizedDeltaRuleGradients {
  Gradient<T> dq, dk, dv, dlog_decay, dremoval, drate;
};

/// CPU twins of `generalized_delta_rule`; scratch holds
/// generalized_delta_rule_scratch(plan, backward) numbers.
template <class T>
void generalized_delta_rule_forward_cpu(const GeneralizedDeltaRulePlan& plan,
                                        const GeneralizedDeltaRuleViews<T>& in, const Batched<T>& y,
                                        T* scratch);
template <class T>
void generalized_delta_rule_backward_cpu(const GeneralizedDeltaRulePlan& plan,
                                         const GeneralizedDeltaRuleViews<T>& in,
                                         const Batched<T>& dy,
                                         const GeneralizedDeltaRuleGradients<T>& out, T* scratch);
Index generalized_delta_rule_scratch(const GeneralizedDeltaRulePlan& plan, bool backward);

}  // namespace recallbench
