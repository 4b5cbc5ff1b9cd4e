#pragma once

#include <memory>

#include "mixers/mixer.h"

namespace recallbench {

/// Sizes of an H3 layer.
struct H3Sizes {
  Index d_model, states, head_dim, l_max;

  Index heads() const { return d_model / head_dim; }
  Index modes() const { return states / 2; }  ///< complex ones of a diagonal SSM
  /// Longer sequences than l_max, where that is not 0, are Error(usage).
  void check_length(Index length) const {
    if (l_max == 0 || length <= l_max) return;
    fail(ErrorKind::usage, "h3",
         "l_max = {} bounds the sequences, and one has {} tokens; raise it to the longest of "
         "training and test",
         l_max, length);
  }
};

/// The definition: see decoder.cpp.
std::unique_ptr<Decoder> make_h3_decoder(const H3Sizes& sizes, const HostParameters& parameters,
                                         Index length);

}  // namespace recallbench
