#pragma once

#include "kernels/graph/op_case.h"

namespace recallbench {

/// stream and normalised of residual_norm.h in plain loops. t: r, h, weight and, where the mean is
/// subtracted, bias. Cases run with seed 17 and step 3.
std::vector<HostTensor> residual_norm_reference(const std::vector<HostTensor>& t, double p,
                                                std::uint32_t random_id, double eps);

}  // namespace recallbench
