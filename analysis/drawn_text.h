#pragma once

#include <string>
#include <string_view>

namespace recallbench {

/// About how wide `text` is in a figure, in digits of its font: more than its columns where it has
/// many capitals and other wide letters, never less.
double drawn_width(std::string_view text);

/// plain_text() cut so that its columns and its drawn width are at most `limit`.
std::string drawn_text(std::string_view text, std::size_t limit);

}  // namespace recallbench
