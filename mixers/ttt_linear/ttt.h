#pragma once

#include <memory>

#include "mixers/mixer.h"

namespace recallbench {

/// What a test-time-training layer is; the mixers `ttt_linear` and `ttt_mlp` differ in `mlp`.
struct TttConfig {
  Index d_model = 0, heads = 1, mini_batch = 16;
  bool mlp = false;       ///< the inner model: a linear layer, or two with 4 f hidden numbers
  double base_rate = 1;   ///< of the inner learning rates
  bool gate = false;      ///< GELU(g_proj x) on the output
  bool share_qk = false;  ///< q and k are convolutions of one projection
  Index conv_width = 4;   ///< of these convolutions
  double theta = 10000;   ///< base of the rotary frequencies

  Index head_dim() const { return d_model / heads; }
  Index hidden() const { return mlp ? 4 * head_dim() : 0; }
};

/// A factory of the layer with that inner model.
MixerFactory ttt_factory(bool mlp);

/// The definition: see decoder.cpp.
std::unique_ptr<Decoder> make_ttt_decoder(const TttConfig& config,
                                          const HostParameters& parameters);

}  // namespace recallbench
