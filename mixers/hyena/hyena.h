#pragma once

#include <memory>

#include "mixers/mixer.h"

namespace recallbench {

/// Sizes and switches of a Hyena layer.
struct HyenaOptions {
  Index d_model = 64;
  Index l_max = 1024;      ///< longest sequence
  Index order = 64;        ///< width of the filter's network
  Index short_filter = 3;  ///< taps of the short convolution
  Index features = 3;      ///< of a position: its time, cosines and sines
  Index hidden = 2;        ///< layers of the filter's network between first and last
  double frequency = 1;    ///< of its sines, at first
  bool modulate = true;    ///< the filter decays
  bool bias = true;        ///< D acts
  double fast_decay = 0.3, slow_decay = 1.5, target = 0.01, shift = 0;
};

/// "filter_fn.implicit_filter.4.weight" for layer 2 and "weight": sines stand between the layers.
std::string hyena_layer_name(Index layer, const std::string& parameter);

/// The definition: see decoder.cpp.
std::unique_ptr<Decoder> make_hyena_decoder(const HyenaOptions& options,
                                            const HostParameters& parameters, Index length);

}  // namespace recallbench
