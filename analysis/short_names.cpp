#include "analysis/short_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <set>

#include "analysis/characters.h"

namespace recallbench {
namespace {

/// `name` as one line, in which something is seen unless it is empty.
std::string seen_text(const std::string& name) {
  const std::string plain = plain_text(name);
  std::string numbers;
  bool blank = !plain.empty();
  for_each_character(plain, [&](std::string_view, char32_t code) {
    blank = blank && is_blank(code);
    if (blank)
      numbers += fmt::format("{}U+{:04X}", numbers.empty() ? "" : " ", std::uint32_t{code});
  });
  return blank ? fmt::format("[{}]", numbers) : plain;
}

/// The last characters of `text` that take at most `limit` columns.
std::string end_of(const std::string& text, std::size_t limit) {
  std::size_t width = text_width(text);
  std::string result;
  for_each_character(text, [&](std::string_view character, char32_t code) {
    if (width <= limit) result += character;
    width -= character_width(code);
  });
  return result;
}

std::string without_middle(const std::string& name, std::size_t limit) {
  const std::string plain = seen_text(name);
  if (text_width(plain) <= limit) return plain;
  const std::size_t tail = (limit - 1) / 2;
  return plain_text(plain, limit - tail) + end_of(plain, tail);
}

}  // namespace

std::vector<std::string> short_names(const std::vector<std::string>& names, std::size_t limit) {
  std::map<std::string, std::string> shown;  // by name
  for (const std::string& name : names)
    shown[name] = plain_text(seen_text(name), limit);
  const auto clashing = [&] {
    std::map<std::string, int> times;
    for (const auto& [name, label] : shown)
      ++times[label];
    std::vector<std::string> found;
    for (const std::string& name : names)
      if (times[shown[name]] > 1 && std::find(found.begin(), found.end(), name) == found.end())
        found.push_back(name);
    return found;
  };
  for (const std::string& name : clashing())
    shown[name] = without_middle(name, limit);
  const std::vector<std::string> left = clashing();
  std::set<std::string> taken;
  for (const auto& [name, label] : shown)
    if (std::find(left.begin(), left.end(), name) == left.end()) taken.insert(label);
  std::size_t number = 0;
  for (const std::string& name : left) {
    do {
      const std::string suffix = fmt::format(" ({})", ++number);
      shown[name] = plain_text(seen_text(name), limit - suffix.size()) + suffix;
    } while (!taken.insert(shown[name]).second);
  }
  std::vector<std::string> labels;
  for (const std::string& name : names)
    labels.push_back(shown[name]);
  return labels;
}

}  // namespace recallbench
