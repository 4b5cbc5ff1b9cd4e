#pragma once

#include <string>

namespace recallbench {

/// Whether `descriptor` is a terminal that understands control sequences: neither TERM=dumb nor
/// without TERM.
bool is_smart_terminal(int descriptor);

/// Whether to colour what goes to `descriptor`: `choice` is always, never or auto, which is on a
/// smart terminal where NO_COLOR is unset or empty (no-color.org).
bool use_color(const std::string& choice, int descriptor);

}  // namespace recallbench
