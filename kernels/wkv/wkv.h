#pragma once

#include "kernels/graph/graph.h"

namespace recallbench {

/// What wkv reads.
struct WkvInputs {
  Tensor k;           ///< [R, B, L, C]
  Tensor v;           ///< [R, B, L, C]
  Tensor time_decay;  ///< [R, 1, C]: w = -exp(time_decay) is the logarithm of the decay
  Tensor time_first;  ///< [R, 1, C]: u, added to the key of the token itself
};

/// The recurrence of RWKV-4, channel by channel: an average of the values so far,
///   y_t = (Σ_{i<t} e^{(t-1-i) w + k_i} v_i + e^{u + k_t} v_t)
///         / (Σ_{i<t} e^{(t-1-i) w + k_i}   + e^{u + k_t})      → y [R, B, L, C].
/// Sums are carried relative to their largest exponent: keys of any size are safe. Peng et al.,
/// "RWKV: reinventing RNNs for the transformer era", 2023, appendix D.
Tensor wkv(Graph& graph, const WkvInputs& inputs);

}  // namespace recallbench
