#pragma once

#include "kernels/graph/op_case.h"

namespace recallbench {

/// The formulas of l2_norm.h, over the last dimension of x.
HostTensor l2_norm_reference(const HostTensor& x, Index heads, double eps = 1e-6);
HostTensor sum_norm_reference(const HostTensor& x, Index heads);

}  // namespace recallbench
