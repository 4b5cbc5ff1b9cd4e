#pragma once

#include <string>

#include "kernels/base/options.h"
#include "kernels/tensor/shape.h"

namespace recallbench {

/// A head's share of expand · d_model numbers, which must be whole and which `num_heads` must
/// divide; `what` is their name in the refusal.
Index head_numbers(Options& options, const std::string& what, double expand, Index d_model,
                   Index heads);

}  // namespace recallbench
