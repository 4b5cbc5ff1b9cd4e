#pragma once

#include "kernels/graph/op_case.h"

namespace recallbench {

/// Inputs x, dt [B, L, C], a_log [C, N], b, c [B, L, N], d [1, C] → y [B, L, C], token by token.
std::vector<HostTensor> selective_scan_reference(const std::vector<HostTensor>& inputs);

/// The same as one sum over the past, with σ the running sum of Δ:
///   y_t[c] = Σ_{s<=t} Δ_s[c] x_s[c] Σ_n c_t[n] b_s[n] exp(A[c, n] (σ_t[c] - σ_s[c])) + d[c]
///   x_t[c].
std::vector<HostTensor> selective_scan_sum_reference(const std::vector<HostTensor>& inputs);

}  // namespace recallbench
