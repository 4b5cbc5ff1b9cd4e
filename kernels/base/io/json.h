#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/base/error.h"

namespace recallbench {

struct JsonDocument;

/// A JSON value. Integers stay integers: a number without fraction and exponent that fits is an
/// int64, or a uint64 where it is larger than every int64. The typed getters throw
/// `[json] file:line: 'key' must be ... (it is ...)`, of the kind that the reader was given; values
/// built in code throw Error(internal).
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  Json() = default;  ///< null
  Json(std::nullptr_t) {}
  template <std::integral T>
  Json(T x) {
    if constexpr (std::same_as<T, bool>)
      value_ = x;
    else if (std::in_range<std::int64_t>(x))
      value_ = static_cast<std::int64_t>(x);
    else
      value_ = static_cast<std::uint64_t>(x);
  }
  Json(double x) : value_(x) {}
  Json(const char* text) : value_(std::string(text)) {}
  Json(std::string_view text) : value_(std::string(text)) {}
  Json(std::string text) : value_(std::move(text)) {}
  Json(Array array) : value_(std::move(array)) {}
  Json(Object object) : value_(std::move(object)) {}

  /// An array of the entries.
  template <class T>
  static Json list(const std::vector<T>& entries) {
    return Json(Array(entries.begin(), entries.end()));
  }

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_integer() const { return is_int() || std::holds_alternative<std::uint64_t>(value_); }
  bool is_number() const { return is_integer() || std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }

  bool as_bool() const;
  /// An integer in [min, max]; 3.0 is none.
  std::int64_t as_int(std::int64_t min = std::numeric_limits<std::int64_t>::min(),
                      std::int64_t max = std::numeric_limits<std::int64_t>::max()) const;
  std::uint64_t as_uint() const;
  /// Any number, integers rounded to the nearest double.
  double as_double() const;
  /// The same, with null for NaN: how the writer stores what is not finite.
  double as_double_or_nan() const;
  const std::string& as_string() const;
  const Array& as_array() const;
  const Object& as_object() const;

  /// The entry of an object; throws if this is none, or naming the nearest key it has.
  const Json& at(std::string_view key) const;
  /// The entry of an object, or null where it has none; throws if this is no object.
  const Json* find(std::string_view key) const;
  /// The entry of an array; throws if this is none or too short.
  const Json& at(std::size_t index) const;
  /// Entries of an array or object; throws if this is neither.
  std::size_t size() const;
  /// Throws if this object has a key that is not among `known`, naming the nearest.
  void allow_keys(const std::vector<std::string>& known) const;

  /// For building: the entry of an object, made where missing; null becomes an object.
  Json& operator[](std::string_view key);
  /// For building: null becomes an array.
  void push_back(Json entry);

  /// Canonical text: keys sorted by bytes, shortest numbers that read back to the same bits
  /// (with a fraction or exponent where they are doubles), null for NaN and infinities, no
  /// whitespace. Bytes that are not UTF-8 become U+FFFD.
  std::string compact() const;
  /// The same with two spaces a level, and a newline at the end.
  std::string indented() const;

  /// Throws about this value: `[json] file:line: 'key' PROBLEM (it is ...)`.
  [[noreturn]] void reject(const std::string& problem) const;

  /// Compares values, not places. NaN differs from itself.
  friend bool operator==(const Json& a, const Json& b) { return a.value_ == b.value_; }

 private:
  friend class JsonBuilder;
  friend class JsonWriter;
  bool is_int() const { return std::holds_alternative<std::int64_t>(value_); }
  [[noreturn]] void fail_at(const std::string& text) const;
  std::string name() const;

  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Array,
               Object>
      value_;
  std::shared_ptr<const JsonDocument> document_;  // null where built in code
  const std::string* key_ = nullptr;              // owned by the document
  std::size_t line_ = 0;
};

/// Bounds for reading what may be hostile. Depth counts nested arrays and objects.
struct JsonLimits {
  std::uint64_t max_bytes = std::uint64_t{64} << 20;
  int max_depth = 64;
  std::int64_t max_values = std::int64_t{1} << 22;
};

/// Reads one JSON text (RFC 8259), strictly: UTF-8, no duplicate keys, no comments, no NaN, nothing
/// behind it. Throws Error(kind): `[json] source:line:column: ...`.
Json parse_json(std::string_view text, const std::string& source, ErrorKind kind,
                const JsonLimits& limits = {});

/// read_file and parse_json.
Json read_json(const std::string& path, ErrorKind kind, const JsonLimits& limits = {});

/// A JSON string literal with its quotes, as the canonical writer gives it.
std::string json_quoted(std::string_view text);

}  // namespace recallbench
