#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// What a filter longer than the sequence does.
enum class LongConvWrap {
  none,      ///< taps from L on are ignored: causal
  circular,  ///< quirk Q17: a circular convolution of length 2L, in which taps beyond L reach ahead
};

/// Depthwise long convolution, per channel:
///   none:     y[t] = Σ_{j<=t} filter[j] ⊙ u[t-j]
///   circular: y[t] = Σ_{s<L} k'[(t - s) mod 2L] ⊙ u[s], k' = the first min(taps, 2L) taps, then 0
/// u [R, B, L, D], filter [R, taps, D] → y [R, B, L, D]. Direct sums for short sequences, FFTs of
/// length 2L for long ones; the choice follows from L, the taps and the precision alone.
Tensor long_conv(Graph& graph, const Tensor& u, const Tensor& filter,
                 LongConvWrap wrap = LongConvWrap::none);

}  // namespace recallbench
