#pragma once

#include "kernels/graph/op_case.h"

namespace recallbench {

/// Inputs x [B, L, H P], dt [B, L, H], dt_bias, a_log [1, H], b, c [B, L, G N], d [1, H] or
/// [1, H P] → y [B, L, H P]; token by token.
std::vector<HostTensor> ssd_reference(const std::vector<HostTensor>& inputs, Index groups);

/// The same as attention: y_t = Σ_{s<=t} <c_t, b_s> exp(Σ_{s<r<=t} ln a_r) Δ_s x_s + d ⊙ x_t.
std::vector<HostTensor> ssd_attention_reference(const std::vector<HostTensor>& inputs,
                                                Index groups);

}  // namespace recallbench
