#pragma once

#include "kernels/graph/parameters.h"

namespace recallbench {

/// Initial values that several mixers use; see also constant, normal and uniform.

/// PyTorch's default for a Linear or a Conv with that many inputs: U(±1/√fan_in).
Initialise torch_default(Index fan_in);

/// Step sizes before softplus: those after it are log-uniform in [low, high], but at least `floor`.
Initialise inverse_softplus(double low, double high, double floor);

/// Position features of an implicit filter, [l_max, 1 + 2 bands]:
///   z[t] = [t / (l_max - 1), cos(f_i ω_t) ..., -sin(f_i ω_t) ...],   ω_t = 2π t / l_max.
/// Q16: the reference's frequencies run evenly from 1e-4 to bands - 1, so that a single band has
/// 1e-4 alone and z is a ramp and two constants; the sound form's are 1, 2, ...
Initialise position_features(Index l_max, Index bands, bool zoology);

}  // namespace recallbench
