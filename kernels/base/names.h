#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace recallbench {

/// The entry of `known` that is one edit away from `name`; else the one that has its words (the
/// last may be cut short) and little more, or ends in its initials; else the nearest by edits, at
/// most a third of its length (at least 2) and half of the letters; empty otherwise. Of a path the
/// part after the last dot is enough, where `name` has no dot.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

/// "; did you mean 'x'?" or "; known: a, b and 9 more", to end a message about an unknown name.
std::string hint_for(std::string_view name, const std::vector<std::string>& known);

}  // namespace recallbench
