#pragma once

#include "kernels/graph/op_case.h"

namespace recallbench {

/// y[i, o] = Σ_j x[i, j] · weight[o, j] + bias[o]; inputs x [n, in], weight [out, in], bias [1,
/// out] or none.
std::vector<HostTensor> linear_reference(const std::vector<HostTensor>& inputs);

}  // namespace recallbench
