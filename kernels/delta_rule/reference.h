#pragma once

#include "kernels/delta_rule/delta_rule.h"
#include "kernels/graph/op_case.h"

namespace recallbench {

/// Inputs q, k [B, L, H·dk], v [B, L, H·dv], beta, log_decay [B, L, H] → y [B, L, H·dv], token by
/// token as in delta_rule.h; the last two may be left out (empty data).
HostTensor delta_rule_reference(const std::vector<HostTensor>& inputs,
                                const DeltaRuleOptions& options);

}  // namespace recallbench
