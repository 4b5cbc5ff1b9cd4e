#pragma once

#include <memory>

#include "mixers/mixer.h"

namespace recallbench {

/// Sizes of an H3 layer.
struct H3Sizes {
  Index d_model, states, head_dim, l_max;  // l_max 0: sequences of any length

  Index heads() const { return d_model / head_dim; }
  Index modes() const { return states / 2; }  ///< complex ones of a diagonal SSM
};

/// The definition: see decoder.cpp.
std::unique_ptr<Decoder> make_h3_decoder(const H3Sizes& sizes, const HostParameters& parameters,
                                         Index length);

}  // namespace recallbench
