#include "analysis/glyphs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "analysis/characters.h"
#include "kernels/base/error.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

using Range = std::pair<char32_t, char32_t>;

/// Sorted, those that touch made one.
std::vector<Range> merged(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end());
  std::vector<Range> result;
  for (const Range& range : ranges) {
    if (!result.empty() && range.first <= result.back().second + 1)
      result.back().second = std::max(result.back().second, range.second);
    else
      result.push_back(range);
  }
  return result;
}

}  // namespace

std::vector<Range> parse_charset(std::string_view text) {
  std::vector<Range> ranges;
  for (const std::string_view part : split(text, ' ')) {
    const std::vector<std::string_view> words = split(part, '-');
    std::uint32_t bounds[2] = {0, 0};
    const std::string_view first = words.front(),
                           last = words.back().empty() ? first : words.back();
    bool reads = words.size() <= 2;
    for (const auto& [word, bound] : {std::pair(first, &bounds[0]), std::pair(last, &bounds[1])}) {
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), *bound, 16);
      reads = reads && error == std::errc() && end == word.data() + word.size();
    }
    if (reads && bounds[0] <= bounds[1]) ranges.push_back({bounds[0], bounds[1]});
  }
  return ranges;
}

Glyphs::Glyphs(std::vector<Range> ranges) : ranges_(merged(std::move(ranges))) {}

Glyphs Glyphs::installed(std::chrono::milliseconds limit) {
  Glyphs usual({{0x20, 0x7E}, {0xA0, 0x17F}, {0x386, 0x3CE}, {0x401, 0x45F}, {0x2026, 0x2026}});
  usual.are_known_ = false;
  if (!tool_available("fc-list")) return usual;
  ToolOutput listed;
  try {
    listed = run_tool("/", {"fc-list", "-f", "%{fontformat} %{charset}\n"}, limit);
  } catch (const Error&) {
    return usual;
  }
  if (!listed.problem.empty()) return usual;
  std::vector<Range> ranges;
  for (const std::string_view line : split(listed.output, '\n')) {
    const std::string_view format = line.substr(0, line.find(' '));
    if (format != "TrueType" && format != "CFF") continue;  // Pango draws no other
    const std::vector<Range> more = parse_charset(line.substr(format.size()));
    ranges.insert(ranges.end(), more.begin(), more.end());
  }
  return Glyphs(std::move(ranges));
}

bool Glyphs::has(char32_t character) const {
  if (is_invisible(character)) return true;
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), Range{character, 0x10FFFF});
  return after != ranges_.begin() && std::prev(after)->second >= character;
}

std::string Glyphs::drawable(std::string_view text) const {
  std::string result;
  bool in_numbers = false;
  for_each_character(text, [&](std::string_view character, char32_t code) {
    const bool missing = !has(code);
    if (missing) result += fmt::format("{}U+{:04X}", in_numbers ? " " : "[", std::uint32_t{code});
    if (!missing && in_numbers) result += ']';
    if (!missing) result += character;
    in_numbers = missing;
  });
  return in_numbers ? result + ']' : result;
}

void Glyphs::add_missing(std::string_view text, std::set<std::string>& missing) const {
  for_each_character(text, [&](std::string_view character, char32_t code) {
    if (!has(code)) missing.insert(std::string(character));
  });
}

}  // namespace recallbench
