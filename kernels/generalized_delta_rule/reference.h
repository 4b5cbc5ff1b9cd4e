#pragma once

#include "kernels/graph/op_case.h"

namespace recallbench {

/// Inputs q, k [B, L, H·K], v [B, L, H·V], g, κ, a [B, L, H·K] → o [B, L, H·V], token by token.
std::vector<HostTensor> generalized_delta_rule_reference(const std::vector<HostTensor>& inputs,
                                                         Index heads);

}  // namespace recallbench
