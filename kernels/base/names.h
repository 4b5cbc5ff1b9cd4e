#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace recallbench {

/// The entry of `known` with the smallest edit distance to `name`, if that is at most a third of
/// its length (at least 2); empty otherwise.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

/// "; did you mean 'x'?" or "; known: a, b, c", for the end of a message about an unknown name.
std::string hint_for(std::string_view name, const std::vector<std::string>& known);

}  // namespace recallbench
