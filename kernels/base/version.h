#pragma once

#include <string>

namespace recallbench {

/// Raised whenever the bits of a result change; part of every run id.
inline constexpr int kNumericsVersion = 9;

/// "0.1.0", and where git was at hand when it was built: "0.1.0 (1a2b3c4)", "-dirty" appended.
std::string code_version();

}  // namespace recallbench
