#include "sweeps/cli/key_value.h"

#include <charconv>
#include <optional>
#include <string_view>

#include "kernels/base/error.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

template <class Number>
std::optional<Number> whole(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// The entries of a list; nothing need follow the last comma.
std::vector<std::string> list_entries(std::string_view inside) {
  std::vector<std::string> entries;
  for (const std::string_view entry : split(inside, ','))
    entries.emplace_back(trimmed(entry));
  if (entries.back().empty()) entries.pop_back();
  return entries;
}

/// All entries as numbers of one type, or nullopt.
template <class Number>
std::optional<std::vector<Number>> numbers_of(const std::vector<std::string>& entries) {
  std::vector<Number> numbers;
  for (const std::string& entry : entries) {
    const std::optional<Number> number = whole<Number>(entry);
    if (!number) return std::nullopt;
    numbers.push_back(*number);
  }
  return numbers;
}

}  // namespace

Value value_from_text(const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  if (const auto integer = whole<std::int64_t>(text)) return *integer;
  if (const auto number = whole<double>(text)) return *number;
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
      text.back() == text.front())
    return text.substr(1, text.size() - 2);
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') {
    const auto entries = list_entries(std::string_view(text).substr(1, text.size() - 2));
    if (auto integers = numbers_of<std::int64_t>(entries)) return *std::move(integers);
    if (auto numbers = numbers_of<double>(entries)) return *std::move(numbers);
    return entries;
  }
  return text;
}

Options options_from_words(const std::string& who, const std::vector<std::string>& words) {
  Options options(who);
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      fail(ErrorKind::usage, who, "a parameter is written key=value, came '{}'; add the {}", word,
           equals == 0 ? "key" : "value");
    }
    const std::string key = word.substr(0, equals);
    if (options.has(key))
      fail(ErrorKind::usage, who, "key '{}' is given twice; remove one of the two", key);
    options.set(key, value_from_text(word.substr(equals + 1)));
  }
  return options;
}

}  // namespace recallbench
