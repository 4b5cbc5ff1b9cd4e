#pragma once

#include <string>
#include <vector>

#include "kernels/base/io/json.h"
#include "mixers/deviation.h"

namespace recallbench {

/// "    Q5   compat = "zoology": ...; otherwise: ...": one line for a terminal.
std::string deviation_text(const Deviation& deviation);

/// An array of objects with number, reference and sound.
Json to_json(const std::vector<Deviation>& deviations);

}  // namespace recallbench
