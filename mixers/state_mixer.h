#pragma once

#include <memory>

#include "mixers/mixer.h"
#include "mixers/model_config.h"

namespace recallbench {

/// The second half of a block: acts on each position alone.
class StateMixer {
 public:
  virtual ~StateMixer() = default;
  /// x [R, ..., D] → the same shape.
  virtual Tensor forward(Forward& f, const Tensor& x) const = 0;
  /// The same for one position, in double: x [D] → y [D].
  virtual std::vector<double> step(const HostParameters& parameters,
                                   const std::vector<double>& x) const = 0;
};

/// mlp: fc2(gelu(fc1 x)). glu: fc3(fc1 x ⊙ gelu(fc2 x)). Width hidden_mult · D, with biases, exact
/// GELU. identity, y = x: none. Under compat the matrix that the reference's name rule rescales is
/// fc2 in both, in the sound form it is the one that writes into the stream (quirk Q6).
std::unique_ptr<StateMixer> make_state_mixer(const StateMixerConfig& config,
                                             const MixerContext& context,
                                             ParameterDeclarer& declarer);

}  // namespace recallbench
