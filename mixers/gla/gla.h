#pragma once

#include <optional>
#include <string>

#include "kernels/elementwise/elementwise.h"
#include "mixers/mixer.h"

namespace recallbench {

/// Whence a head's decays come.
enum class HeadDecay {
  gate,        ///< GLA: one for each token and key, from a projection of low rank
  fixed_rate,  ///< RetNet: 1 - 2^(-5-h) for head h; queries and keys carry rotary positions
};

/// What the parallel form and the decoder share.
struct GlaSizes {
  HeadDecay decay = HeadDecay::gate;
  Index heads = 1, state_heads = 1;
  Index keys = 1, values = 1;             ///< of one head
  Index conv = 0;                         ///< width of the short convolutions, 0 without
  std::optional<Activation> feature_map;  ///< of queries and keys
  std::optional<Activation> gate;         ///< of the normalised heads
  std::string norm_name;                  ///< of the weights of the norm of each head
  double norm_eps = 1e-5;
  double divisor = 1, clamp_min = 0;  ///< of the gate's logarithm

  /// 1 - 2^(-5-h)
  static double rate(Index head);
};

/// Linear attention with decays, a norm of each head and an output gate: the mixers `gla` and
/// `retnet`.
MixerFactory gla_factory(HeadDecay decay);

/// Its definition: see decoder.cpp.
std::unique_ptr<Decoder> make_gla_decoder(const GlaSizes& sizes, const HostParameters& parameters);

}  // namespace recallbench
