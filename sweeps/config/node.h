#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/text.h"

namespace recallbench {

/// Where something stands, for messages: "recipe.toml:3:7", or "override 'train.lr=1'" where line
/// is 0.
struct Place {
  std::shared_ptr<const std::string> source;
  int line = 0;
  int column = 0;

  std::string text() const;
};

struct Node;
struct Entry;
using List = std::vector<Node>;

/// A table in the order of the file; recipes are small, so lookup is linear.
class Table {
 public:
  Node* find(std::string_view key);
  const Node* find(std::string_view key) const;
  /// Adds the entry or replaces the value (and the place) of an existing one.
  void set(const std::string& key, const Place& place, Node value);
  std::vector<std::string> keys() const;

  std::vector<Entry> entries;
};

/// A recipe as a plain tree, before anything in it has a meaning.
struct Node {
  std::variant<bool, std::int64_t, double, std::string, List, Table> value;
  Place place;

  template <class T>
  const T* get() const {
    return std::get_if<T>(&value);
  }
  template <class T>
  T* get() {
    return std::get_if<T>(&value);
  }
  /// "an integer", "a table", ... for messages.
  const char* type_name() const;
  /// The value as one would write it, cut at about 60 characters.
  std::string text() const;
};

struct Entry {
  std::string key;
  Place place;  ///< of the key
  Node value;
};

/// The bytes that a recipe may have.
inline constexpr std::size_t kLargestRecipe = std::size_t{1} << 20;

/// The parts that a dotted key may have: none that means anything has more.
inline constexpr std::size_t kMostKeyParts = 8;

/// Parses TOML. Duplicate keys, keys of many parts, nesting beyond the parser's limit, dates and
/// files beyond kLargestRecipe are Error(usage) with their place.
Node parse_toml(std::string_view toml, const std::string& source);

/// Throws Error(usage): `[recipe] place: text`, fit for a terminal.
template <class... Args>
[[noreturn]] void fail_at(const Place& place, fmt::format_string<Args...> format, Args&&... args) {
  constexpr std::size_t kLongestMessage = 1000;
  fail(ErrorKind::usage, "recipe", "{}",
       printable(place.text() + ": " + fmt::format(format, std::forward<Args>(args)...),
                 kLongestMessage));
}

}  // namespace recallbench
