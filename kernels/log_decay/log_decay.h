#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// The logarithm of a head's decay over a step of size dt: g = -exp(a_log) ⊙ dt, at most 0 where
/// dt is not negative. dt [R, ..., H]; a_log [R, 1, H] → [R, ..., H].
Tensor log_decay(Graph& graph, const Tensor& dt, const Tensor& a_log);

}  // namespace recallbench
