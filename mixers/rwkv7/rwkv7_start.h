#pragma once

#include "kernels/graph/parameters.h"
#include "mixers/mixer.h"

namespace recallbench {

/// Initial values of RWKV-7's vectors. Under compat, as the reference ends up with them: zeros,
/// and ones for the norm (quirk Q23); otherwise as RWKV-LM and flash-linear-attention mean them,
/// by layer and channel.
class Rwkv7Start {
 public:
  Rwkv7Start(const MixerContext& context, Index head_numbers);

  Initialise x_x() const;  ///< [6, D]
  Initialise k_k() const;
  Initialise k_a() const;
  Initialise r_k() const;
  Initialise decay_bias() const;
  Initialise rate_bias() const;
  Initialise norm_weight() const;

 private:
  /// A row's place: c / D, c / (D - 1) - 1/2, and its place z in its head, from -1 to 1, as z |z|.
  struct Channel {
    double share, centred, zigzag;
  };
  template <class F>
  Initialise by_channel(F f) const;

  bool zeros_;
  Index d_, head_;
  double depth_, height_, layer_share_;  ///< ℓ / (n - 1), 1 - ℓ / n, (ℓ + 1) / n
};

}  // namespace recallbench
