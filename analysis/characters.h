#pragma once

#include <string>
#include <string_view>

namespace recallbench {

/// Calls `visit(character, code point)` for each character of valid UTF-8.
template <class Visit>
void for_each_character(std::string_view text, const Visit& visit);

/// Columns that a character takes in a terminal, and about that much in a figure: 2 for Chinese,
/// Japanese, Korean and emoji, 0 for marks that stand on another character, else 1.
std::size_t character_width(char32_t character);

/// Columns of valid UTF-8.
std::size_t text_width(std::string_view text);

/// `text` as one line of valid UTF-8 for a figure or a table: control characters, and those that
/// turn the direction of text, become spaces; bytes that are not UTF-8 become '?'; cut to `limit`
/// columns with an ellipsis (0: no limit).
std::string plain_text(std::string_view text, std::size_t limit = 0);

/// Joiners, direction marks, variation selectors: they are never seen, and need no glyph.
bool is_invisible(char32_t character);

/// The same, and spaces of any width: nothing of them is seen where they stand alone.
bool is_blank(char32_t character);

/// The code point of the one character that `character` holds, valid UTF-8.
char32_t code_point(std::string_view character);

template <class Visit>
void for_each_character(std::string_view text, const Visit& visit) {
  while (!text.empty()) {
    std::size_t length = 1;
    while (length < text.size() && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80)
      ++length;
    visit(text.substr(0, length), code_point(text.substr(0, length)));
    text.remove_prefix(length);
  }
}

}  // namespace recallbench
