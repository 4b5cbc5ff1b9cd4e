#pragma once

#include <string>
#include <vector>

#include "kernels/base/options.h"

namespace recallbench {

/// Reads "key=value" words of a command line: true, false, integers, numbers, lists in brackets
/// ("[1, 2]"), quoted strings; anything else is a string as it stands. Throws Error(usage) for a
/// word without '=', an empty key, or a key given twice. `who` goes into messages.
Options options_from_words(const std::string& who, const std::vector<std::string>& words);

/// One value, as above.
Value value_from_text(const std::string& text);

}  // namespace recallbench
