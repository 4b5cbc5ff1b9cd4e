#pragma once

#include <chrono>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "analysis/tool.h"

namespace recallbench {

/// The characters that fonts have glyphs for. gnuplot takes a glyph for its PNG and PDF from
/// whatever installed font has one; for a character that none has it draws a box, of any size, over
/// everything else. An SVG is left to its viewer's fonts.
class Glyphs {
 public:
  /// From the first to the last of each pair. Characters that are never seen need no glyph.
  explicit Glyphs(std::vector<std::pair<char32_t, char32_t>> ranges);

  /// Those of this machine's fonts, all together, as fontconfig's fc-list tells; where that cannot
  /// be asked, or has not answered after `limit`, those of Latin, Greek and Cyrillic, which every
  /// usual font has.
  static Glyphs installed(std::chrono::milliseconds limit = kToolLimit);

  /// Whether fc-list was asked; else these are those of usual fonts.
  bool are_known() const { return are_known_; }

  /// Whether there is none: no font is installed.
  bool empty() const { return ranges_.empty(); }
  bool has(char32_t character) const;

  /// `text`, UTF-8, with the numbers of the characters that have no glyph: "[U+9577 U+3044] A".
  std::string drawable(std::string_view text) const;

  /// Adds the characters of `text` that have no glyph.
  void add_missing(std::string_view text, std::set<std::string>& missing) const;

 private:
  std::vector<std::pair<char32_t, char32_t>> ranges_;
  bool are_known_ = true;
};

/// The ranges in fontconfig's own writing, "20-7e a0 1f600": what it cannot read is passed over.
std::vector<std::pair<char32_t, char32_t>> parse_charset(std::string_view text);

}  // namespace recallbench
