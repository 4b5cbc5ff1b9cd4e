#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mixers/obligations/obligations.h"
#include "mixers/registry.h"

namespace recallbench {

/// One of the configurations that a mixer accepts, small enough to be checked at once.
struct RandomConfiguration {
  MixerContext context;
  Values options;  ///< every option that the mixer read
  std::vector<CheckedSize> sizes;

  /// "d_model=7 zoology num_heads=1 ... at 2 x 33": for messages.
  std::string text() const;
};

/// Draws configuration `number` of a mixer: width, layer, block and form of the model, then every
/// option as its declaration allows (Options::supply), near its least value or its default. What
/// the mixer refuses, when it is made or for sequences of kLongestChecked tokens, is drawn again;
/// Error(usage) with the last refusal where it refuses 1000 in a row. The same on every machine.
RandomConfiguration random_configuration(const std::string& name, const MixerEntry& entry,
                                         std::uint32_t number);

}  // namespace recallbench
