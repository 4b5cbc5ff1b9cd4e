#pragma once

#include <memory>

#include "mixers/mixer.h"

namespace recallbench {

/// Sizes and switches of a Mamba-2 layer.
struct Mamba2Sizes {
  Index d_model, inner, head_dim, groups, states, conv;
  bool rms_norm, norm_before_gate;

  Index heads() const { return inner / head_dim; }
  Index tokens() const { return groups * states; }          ///< numbers of b, and of c
  Index convolved() const { return inner + 2 * tokens(); }  ///< x, b, c
};

/// Its definition: see decoder.cpp.
std::unique_ptr<Decoder> make_mamba2_decoder(const Mamba2Sizes& sizes,
                                             const HostParameters& parameters);

}  // namespace recallbench
