#pragma once

#include "kernels/tensor/shape.h"

namespace recallbench {

/// Tokens of a chunk on every device: training keeps the state before each chunk but the first.
constexpr Index kDeltaRuleChunk = 32;

}  // namespace recallbench
