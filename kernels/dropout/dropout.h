#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// Inverted dropout: y = x · keep / (1 - p), each element kept with probability 1 - p.
/// Element e of a replica is kept if word e mod 4 of
/// Philox(seed)(e / 4, step, random id of this call, Purpose::dropout) is below (1 - p) 2^32; the
/// mask is computed again in backward. 0 <= p < 1. x [R, ..., D] → y of the same shape; x itself
/// where p = 0, or on a graph that drops nothing (Graph::drops).
Tensor dropout(Graph& graph, const Tensor& x, double p);

}  // namespace recallbench
