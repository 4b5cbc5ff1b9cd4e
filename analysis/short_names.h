#pragma once

#include <string>
#include <vector>

namespace recallbench {

/// The names as plain_text() of at most `limit` columns (12 at least): equal names stay equal, and
/// others stay distinct. A name that is too long loses its end; where that makes it equal to
/// another, its middle; where that is not enough it is numbered. One of which nothing is seen is
/// the numbers of its characters: "[U+200B U+0020]".
std::vector<std::string> short_names(const std::vector<std::string>& names, std::size_t limit);

}  // namespace recallbench
