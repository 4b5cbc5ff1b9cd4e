#include "kernels/base/io/json.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/io/json_document.h"
#include "kernels/base/names.h"
#include "kernels/base/text.h"

namespace recallbench {

std::string Json::name() const {
  return key_ == nullptr ? "the value" : fmt::format("'{}'", printable(*key_));
}

void Json::fail_at(const std::string& text) const {
  if (document_ == nullptr) fail(ErrorKind::internal, "json", "{}", text);
  fail(document_->kind, "json", "{}:{}: {}", printable(document_->source), line_, text);
}

void Json::reject(const std::string& problem) const {
  const std::string_view shown = is_object() ? "an object" : is_array() ? "an array" : "";
  fail_at(fmt::format("{} {} (it is {})", name(), problem,
                      shown.empty() ? printable(compact(), 80) : std::string(shown)));
}

bool Json::as_bool() const {
  if (!is_bool()) reject("must be true or false");
  return std::get<bool>(value_);
}

std::int64_t Json::as_int(std::int64_t min, std::int64_t max) const {
  if (!is_int()) reject(is_integer() ? "must be an integer below 2^63" : "must be an integer");
  const std::int64_t x = std::get<std::int64_t>(value_);
  if (x < min || x > max) {
    reject(max == std::numeric_limits<std::int64_t>::max()
               ? fmt::format("must be at least {}", min)
               : fmt::format("must lie in [{}, {}]", min, max));
  }
  return x;
}

std::uint64_t Json::as_uint() const {
  if (const auto* large = std::get_if<std::uint64_t>(&value_)) return *large;
  if (!is_int() || std::get<std::int64_t>(value_) < 0) reject("must be an integer of at least 0");
  return static_cast<std::uint64_t>(std::get<std::int64_t>(value_));
}

double Json::as_double() const {
  if (const auto* real = std::get_if<double>(&value_)) return *real;
  if (const auto* large = std::get_if<std::uint64_t>(&value_)) return static_cast<double>(*large);
  if (!is_int()) reject("must be a number");
  return static_cast<double>(std::get<std::int64_t>(value_));
}

double Json::as_double_or_nan() const {
  if (is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!is_number()) reject("must be a number or null");
  return as_double();
}

const std::string& Json::as_string() const {
  if (!is_string()) reject("must be a string");
  return std::get<std::string>(value_);
}

const Json::Array& Json::as_array() const {
  if (!is_array()) reject("must be an array");
  return std::get<Array>(value_);
}

const Json::Object& Json::as_object() const {
  if (!is_object()) reject("must be an object");
  return std::get<Object>(value_);
}

const Json* Json::find(std::string_view key) const {
  const Object& object = as_object();
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &found->second;
}

const Json& Json::at(std::string_view key) const {
  if (const Json* entry = find(key); entry != nullptr) return *entry;
  std::vector<std::string> known;
  for (const auto& [other, entry] : as_object())
    known.push_back(printable(other, 64));
  fail_at(fmt::format("{} lacks the key {}{}", name(), in_quotes(key), hint_for(key, known)));
}

const Json& Json::at(std::size_t index) const {
  const Array& array = as_array();
  if (index >= array.size())
    fail_at(
        fmt::format("{} must have more than {} entries (it has {})", name(), index, array.size()));
  return array[index];
}

std::size_t Json::size() const {
  if (is_object()) return as_object().size();
  if (!is_array()) reject("must be an array or an object");
  return as_array().size();
}

void Json::allow_keys(const std::vector<std::string>& known) const {
  for (const auto& [key, entry] : as_object()) {
    if (std::find(known.begin(), known.end(), key) == known.end())
      entry.fail_at(fmt::format("unknown key {}{}", in_quotes(key), hint_for(key, known)));
  }
}

Json& Json::operator[](std::string_view key) {
  if (is_null()) value_ = Object();
  if (!is_object()) reject("must be an object");
  return std::get<Object>(value_)[std::string(key)];
}

void Json::push_back(Json entry) {
  if (is_null()) value_ = Array();
  if (!is_array()) reject("must be an array");
  std::get<Array>(value_).push_back(std::move(entry));
}

}  // namespace recallbench
