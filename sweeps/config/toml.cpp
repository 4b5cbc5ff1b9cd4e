#define TOML_EXCEPTIONS 1
// The parser asserts what a recipe can make untrue ("[=a]", "[1, }") just before it reports it as
// an error with its place; an assertion would end the program instead.
#define TOML_ASSERT(expr) static_assert(true)
#include <toml++/toml.h>

#include <algorithm>

#include "sweeps/config/node.h"

namespace recallbench {
namespace {

using Source = std::shared_ptr<const std::string>;

Place place_of(const toml::source_position& position, const Source& source) {
  return {source, static_cast<int>(position.line), static_cast<int>(position.column)};
}

bool before(const Place& a, const Place& b) {
  return a.line != b.line ? a.line < b.line : a.column < b.column;
}

Node convert(const toml::node& from, const Source& source);

/// The parser sorts a table's keys; the order of axes is that of the file, so it is restored.
Table convert_table(const toml::table& from, const Source& source) {
  Table table;
  for (const auto& [key, value] : from)
    table.entries.push_back(
        {std::string(key.str()), place_of(key.source().begin, source), convert(value, source)});
  std::stable_sort(table.entries.begin(), table.entries.end(),
                   [](const Entry& a, const Entry& b) { return before(a.place, b.place); });
  return table;
}

Node convert(const toml::node& from, const Source& source) {
  Node node;
  node.place = place_of(from.source().begin, source);
  if (const auto* table = from.as_table()) {
    node.value = convert_table(*table, source);
  } else if (const auto* list = from.as_array()) {
    List items;
    for (const toml::node& item : *list)
      items.push_back(convert(item, source));
    node.value = std::move(items);
  } else if (const auto* flag = from.as_boolean()) {
    node.value = flag->get();
  } else if (const auto* integer = from.as_integer()) {
    node.value = integer->get();
  } else if (const auto* real = from.as_floating_point()) {
    node.value = real->get();
  } else if (const auto* text = from.as_string()) {
    node.value = text->get();
  } else {
    fail_at(node.place, "dates and times mean nothing here; write a number or a string");
  }
  return node;
}

/// Where the string that begins at `at` ends: behind its last quote, or at the end of a line or a
/// file that it is not closed in.
std::size_t end_of_string(std::string_view toml, std::size_t at) {
  const char quote = toml[at];
  const bool has_lines = toml.substr(at, 3) == std::string(3, quote);
  for (at += has_lines ? 3 : 1; at < toml.size(); ++at) {
    if (toml[at] == '\\' && quote == '"') {
      ++at;
    } else if (has_lines && toml.substr(at, 3) == std::string(3, quote)) {
      return std::min(toml.find_first_not_of(quote, at), toml.size());
    } else if (!has_lines && (toml[at] == quote || toml[at] == '\n')) {
      return toml[at] == quote ? at + 1 : at;
    }
  }
  return toml.size();
}

/// Refuses a dotted key of many parts: the parser makes a table in a table of it, without a bound,
/// and whatever walks through them takes a frame for each.
void check_keys(std::string_view toml, const Source& source) {
  std::size_t dots = 0;
  for (std::size_t at = 0; at < toml.size();) {
    const char c = toml[at];
    if (c == '"' || c == '\'') {
      at = end_of_string(toml, at);
      continue;
    }
    if (c == '#') {
      at = std::min(toml.find('\n', at), toml.size());
      continue;
    }
    if (c == '.' && ++dots == kMostKeyParts) {
      const std::string_view before = toml.substr(0, at);
      const auto line = 1 + std::count(before.begin(), before.end(), '\n');
      fail_at({source, static_cast<int>(line), static_cast<int>(at - before.rfind('\n'))},
              "a key has at most {} parts with dots between them", kMostKeyParts);
    }
    if (std::string_view("\n=,[]{}").find(c) != std::string_view::npos) dots = 0;
    ++at;
  }
}

}  // namespace

Node parse_toml(std::string_view toml, const std::string& source) {
  const auto name = std::make_shared<const std::string>(source);
  if (toml.size() > kLargestRecipe)
    fail_at({name, 0, 0}, "a recipe has at most {} bytes, this file has {}", kLargestRecipe,
            toml.size());
  check_keys(toml, name);
  try {
    const toml::table root = toml::parse(toml);
    return convert(root, name);
  } catch (const toml::parse_error& error) {
    fail_at(place_of(error.source().begin, name), "this is not TOML: {}", error.description());
  }
}

}  // namespace recallbench
