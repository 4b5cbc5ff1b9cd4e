#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// y[l, c] = sin(frequency[c] x[l, c]). x [R, L, C], frequency [R, 1, C] → y [R, L, C].
Tensor sine(Graph& graph, const Tensor& x, const Tensor& frequency);

/// y[l, c] = h[l, c] (exp(-times[l] |rates[c]|) + shift): the decay over time of a Hyena filter
/// (Poli et al., "Hyena hierarchy", 2023, section 3.3). h [R, L, C], times [R, L, 1],
/// rates [R, 1, C], both of which get no gradient → y [R, L, C].
Tensor exponential_window(Graph& graph, const Tensor& h, const Tensor& times, const Tensor& rates,
                          double shift);

}  // namespace recallbench
