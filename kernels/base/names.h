#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace recallbench {

/// The entry of `known` nearest to `name` by edit distance, of at most a third of its length (at
/// least 2); else the shortest that has its words, or ends in its initials; empty otherwise.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

/// "; did you mean 'x'?" or "; known: a, b and 9 more", to end a message about an unknown name.
std::string hint_for(std::string_view name, const std::vector<std::string>& known);

}  // namespace recallbench
