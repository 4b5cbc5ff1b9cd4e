#pragma once

#include "kernels/delta_rule/delta_rule.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Sizes and options of one recorded delta_rule.
struct DeltaRulePlan {
  DeltaRuleOptions options;
  Index examples, length;
  Index keys, values;  ///< dk and dv, of one head
};

/// The memory of one call, as in delta_rule.h; beta and log_decay have no data where there are
/// none. `states` [R, B, delta_rule_states, H·dk·dv] has none where nothing is kept.
template <class T>
struct DeltaRuleViews {
  Batched<T> q, k, v, beta, log_decay, states;
};
template <class T>
struct DeltaRuleGradients {
  Gradient<T> q, k, v, beta, log_decay;
};

/// CPU twins of delta_rule; scratch holds delta_rule_scratch(plan, backward) numbers.
template <class T>
void delta_rule_forward_cpu(const DeltaRulePlan& plan, const DeltaRuleViews<T>& in,
                            const Batched<T>& y, T* scratch);
template <class T>
void delta_rule_backward_cpu(const DeltaRulePlan& plan, const DeltaRuleViews<T>& in,
                             const Batched<T>& dy, const DeltaRuleGradients<T>& gradients,
                             T* scratch);
Index delta_rule_scratch(const DeltaRulePlan& plan, bool backward);
/// States of an example that training keeps.
Index delta_rule_states(const DeltaRulePlan& plan);

}  // namespace recallbench
