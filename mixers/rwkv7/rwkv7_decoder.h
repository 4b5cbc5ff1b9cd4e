#pragma once

#include "mixers/mixer.h"

namespace recallbench {

/// Rows of x_x: the share of the token before in what r, w, k, v, a and g are made from.
enum Rwkv7Mix { kR, kW, kK, kV, kA, kG };

/// What the parallel form and the decoder share; head numbers are keys and values alike.
struct Rwkv7Sizes {
  Index d_model, heads, head_numbers;
  double norm_eps;  ///< of the group norm

  /// The logarithm of a decay lies above minus this: e^(-1/2).
  static double decay_bound();
};

/// Its definition: see decoder.cpp.
std::unique_ptr<Decoder> make_rwkv7_decoder(const Rwkv7Sizes& sizes,
                                            const HostParameters& parameters);

}  // namespace recallbench
