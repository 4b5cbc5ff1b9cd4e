#pragma once

#include <memory>

#include "mixers/mixer.h"

namespace recallbench {

/// Sizes of a Mamba layer: d, d_inner, N, width of the convolution, rank of the step size.
struct MambaSizes {
  Index d_model, inner, states, conv, rank;
};

/// Its definition: see decoder.cpp.
std::unique_ptr<Decoder> make_mamba_decoder(const MambaSizes& sizes,
                                            const HostParameters& parameters);

}  // namespace recallbench
