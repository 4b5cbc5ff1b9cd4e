#include "analysis/characters.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "kernels/base/text.h"

namespace recallbench {
namespace {

using Range = std::pair<char32_t, char32_t>;

/// Marks without a column of their own, and characters that are never seen: the blocks that matter
/// in names (Latin, Cyrillic, Hebrew, Arabic, Devanagari, Thai), joiners and variation selectors.
constexpr std::array kNarrow = {
    Range{0x0300, 0x036F}, Range{0x0483, 0x0489}, Range{0x0591, 0x05BD}, Range{0x0610, 0x061A},
    Range{0x064B, 0x065F}, Range{0x093C, 0x093C}, Range{0x0941, 0x0948}, Range{0x094D, 0x094D},
    Range{0x0E31, 0x0E31}, Range{0x0E34, 0x0E3A}, Range{0x0E47, 0x0E4E}, Range{0x1AB0, 0x1AFF},
    Range{0x1DC0, 0x1DFF}, Range{0x200B, 0x200F}, Range{0x2060, 0x2064}, Range{0x20D0, 0x20FF},
    Range{0xFE00, 0xFE0F}, Range{0xFE20, 0xFE2F}, Range{0xFEFF, 0xFEFF}, Range{0xE0000, 0xE0FFF}};

/// East Asian wide and full-width characters, emoji.
constexpr std::array kWide = {
    Range{0x1100, 0x115F},   Range{0x2E80, 0x303E},   Range{0x3041, 0x33FF},
    Range{0x3400, 0x4DBF},   Range{0x4E00, 0x9FFF},   Range{0xA000, 0xA4CF},
    Range{0xA960, 0xA97F},   Range{0xAC00, 0xD7A3},   Range{0xF900, 0xFAFF},
    Range{0xFE30, 0xFE6F},   Range{0xFF00, 0xFF60},   Range{0xFFE0, 0xFFE6},
    Range{0x1F300, 0x1F64F}, Range{0x1F680, 0x1F6FF}, Range{0x1F900, 0x1FAFF},
    Range{0x20000, 0x3FFFD}};

template <class Ranges>
bool is_in(const Ranges& ranges, char32_t character) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const Range& range) {
    return character >= range.first && character <= range.second;
  });
}

/// Whether a well-formed character may stand in a line of text, in a figure too: no control, none
/// that ends a line or turns the direction of what follows, none that XML 1.0 forbids.
bool is_plain(std::string_view character) {
  if (begins_with_control(character)) return false;
  const char32_t code = code_point(character);
  const bool turns = (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
  return !turns && code != 0xFFFE && code != 0xFFFF;
}

}  // namespace

std::size_t character_width(char32_t character) {
  if (character < 0x0300) return 1;
  if (is_in(kNarrow, character)) return 0;
  return is_in(kWide, character) ? 2 : 1;
}

std::size_t text_width(std::string_view text) {
  std::size_t width = 0;
  for_each_character(text,
                     [&](std::string_view, char32_t code) { width += character_width(code); });
  return width;
}

std::string plain_text(std::string_view text, std::size_t limit) {
  std::string result, kept;  // kept: what still fits if an ellipsis follows
  std::size_t width = 0;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const std::string_view character = text.substr(0, length == 0 ? 1 : length);
    text.remove_prefix(character.size());
    const std::string_view shown = length == 0 ? "?" : is_plain(character) ? character : " ";
    width += character_width(code_point(shown));
    if (limit != 0 && width > limit) return kept + "\u2026";
    result += shown;
    if (width < limit) kept = result;
  }
  return result;
}

bool is_invisible(char32_t c) {
  return c == 0xAD || c == 0x61C || (c >= 0x200B && c <= 0x200F) || (c >= 0x2060 && c <= 0x206F) ||
         (c >= 0xFE00 && c <= 0xFE0F) || c == 0xFEFF || (c >= 0xE0000 && c <= 0xE0FFF);
}

bool is_blank(char32_t c) {
  return is_invisible(c) || c == 0x20 || c == 0xA0 || c == 0x115F || c == 0x1160 || c == 0x1680 ||
         c == 0x180E || (c >= 0x2000 && c <= 0x200A) || c == 0x202F || c == 0x205F || c == 0x2800 ||
         c == 0x3000 || c == 0x3164 || c == 0xFFA0;
}

char32_t code_point(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first;
  char32_t code = first & (0x7Fu >> character.size());
  for (const char c : character.substr(1))
    code = code << 6 | (static_cast<unsigned char>(c) & 0x3Fu);
  return code;
}

}  // namespace recallbench
