#pragma once

#include <string>

#include "kernels/base/io/json.h"

namespace recallbench {

/// `json` (an object) as indented text, with a key "checksum" over all else.
std::string with_checksum(Json json);

/// Reads such a text and takes the checksum out again. Throws Error(io): `source`, what is wrong,
/// then `remedy`.
Json parse_with_checksum(const std::string& text, const std::string& source,
                         const std::string& remedy, const JsonLimits& limits = {});

}  // namespace recallbench
