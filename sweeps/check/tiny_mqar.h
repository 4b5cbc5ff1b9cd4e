#pragma once

#include "mixers/obligations/obligations.h"

namespace recallbench {

/// Obligation 9: trained on a tiny MQAR (V = 64, L = 32, 4 pairs) with fixed seeds, behind a short
/// convolution, or, for a mixer whose block is not the transformer's, as both layers of that block,
/// the mixer ends in the accuracy interval of its traits, with no loss on the way that is not
/// finite. Takes a few seconds.
Obligation check_tiny_mqar(const std::string& name, const MixerEntry& entry, const Values& options,
                           bool zoology);

}  // namespace recallbench
