#pragma once

#include "kernels/graph/op_case.h"

namespace recallbench {

/// x [B, L, heads · n] turned as in rotary.h.
HostTensor rotary_reference(const HostTensor& x, Index heads, double base);

}  // namespace recallbench
