#pragma once

#include "kernels/gated_linear_attention/gated_linear_attention.h"
#include "kernels/graph/op_case.h"

namespace recallbench {

/// Inputs q [B, L, H·K], k [B, L, N·K], v [B, L, N·V], and g [B, L, N·K] where the decays are not
/// constant → o [B, L, H·V], token by token.
std::vector<HostTensor> gated_linear_attention_reference(
    const std::vector<HostTensor>& inputs, const GatedLinearAttentionOptions& options);

/// The same as one sum over the past, with Γ the running sum of g:
///   o_t = scale Σ_{j<=t} (Σ_c q_t[c] k_j[c] exp(Γ_t[c] - Γ_j[c])) v_j.
std::vector<HostTensor> gated_linear_attention_sum_reference(
    const std::vector<HostTensor>& inputs, const GatedLinearAttentionOptions& options);

}  // namespace recallbench
