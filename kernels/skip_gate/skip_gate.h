#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// A skip connection with a weight a channel, and a gate: out = (y + skip ⊙ x) ⊙ gate.
/// y, x, gate [R, ..., D]; skip [R, 1, D] → out [R, ..., D].
Tensor skip_gate(Graph& graph, const Tensor& y, const Tensor& x, const Tensor& skip,
                 const Tensor& gate);

}  // namespace recallbench
