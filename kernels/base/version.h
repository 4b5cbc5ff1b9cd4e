#pragma once

#include <string>
#include <string_view>

namespace recallbench {

/// Raised whenever the bits of a result change; part of every run id.
inline constexpr int kNumericsVersion = 12;

/// What tells programs of different code apart: "0.1.0", where git was at hand when it was built
/// "0.1.0 (1a2b3c4)", "-dirty-" and a hash appended where the code differs from that commit, and
/// then the plugins: "0.1.0 (1a2b3c4) + leaky.so 5d6e7f8".
std::string code_version();

/// From now on code_version names this plugin, by its file's name and contents.
void add_to_code_version(std::string_view plugin, std::string_view contents);

}  // namespace recallbench
