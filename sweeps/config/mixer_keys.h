#pragma once

#include <string>
#include <vector>

#include "sweeps/config/node.h"

namespace recallbench {

/// Throws Error(usage) where a key of `model`, a [model] table or one that is laid over it, is not
/// `known` but is an option of a mixer, of those in its `layers` first. The message says where the
/// option belongs: in the mixer's entry of `layers`, or in an override's path through it. `name` is
/// how the message calls the table.
void refuse_mixer_keys(const Node& model, const std::string& name,
                       const std::vector<std::string>& known);

}  // namespace recallbench
