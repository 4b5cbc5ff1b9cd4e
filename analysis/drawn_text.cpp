#include "analysis/drawn_text.h"

#include "analysis/characters.h"

namespace recallbench {
namespace {

/// By the advances of DejaVu Sans, a little generous: an SVG may be shown in another font.
double letter_width(char32_t letter) {
  if (letter == 'W' || letter == '@') return 1.65;
  if (letter == 'm' || letter == '%') return 1.6;
  if (letter == 'M') return 1.45;
  if (letter == 'w') return 1.35;
  if (letter >= 'A' && letter <= 'Z') return 1.25;
  return static_cast<double>(character_width(letter));
}

}  // namespace

double drawn_width(std::string_view text) {
  double width = 0;
  for_each_character(text,
                     [&](std::string_view, char32_t letter) { width += letter_width(letter); });
  return width;
}

std::string drawn_text(std::string_view text, std::size_t limit) {
  std::string shown = plain_text(text, limit);
  for (std::size_t columns = limit; columns > 1 && drawn_width(shown) > static_cast<double>(limit);
       --columns)
    shown = plain_text(text, columns);
  return shown;
}

}  // namespace recallbench
