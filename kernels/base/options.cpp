#include "kernels/base/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/names.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

struct ToText {
  std::string operator()(bool x) const { return x ? "true" : "false"; }
  std::string operator()(std::int64_t x) const { return std::to_string(x); }
  std::string operator()(double x) const { return number_text(x); }
  std::string operator()(const std::string& x) const { return fmt::format("\"{}\"", x); }
  template <class T>
  std::string operator()(const std::vector<T>& xs) const {
    std::vector<std::string> parts;
    for (const T& x : xs)
      parts.push_back((*this)(x));
    return fmt::format("[{}]", fmt::join(parts, ", "));
  }
};

/// As a default stands in `list`: texts without quotes.
std::string default_text(const Value& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text == nullptr ? to_string(value) : *text;
}

}  // namespace

std::string to_string(const Value& value) {
  return std::visit(ToText{}, value);
}

Options::Options(std::string who, Values values)
    : who_(std::move(who)), values_(std::move(values)) {}

void Options::set(const std::string& key, Value value, std::string where) {
  values_[key] = std::move(value);
  if (!where.empty()) where_[key] = std::move(where);
}

void Options::reject(const std::string& key, const std::string& why) const {
  const auto where = where_.find(key);
  const std::string place = where == where_.end() ? "" : where->second + ": ";
  const auto value = values_.find(key);
  const std::string came =
      value == values_.end() ? "" : fmt::format(" (it is {})", to_string(value->second));
  fail(ErrorKind::usage, who_, "{}key '{}' {}{}", place, key, why, came);
}

const Value* Options::find(OptionInfo info) {
  const std::string key = info.key, type = info.type;
  const bool required = !info.fallback.has_value();
  info.default_value = required ? "" : default_text(*info.fallback);
  if (source_ && values_.count(key) == 0)
    if (std::optional<Value> value = source_(info)) values_[key] = std::move(*value);
  if (resolved_.count(key) == 0) described_.push_back(std::move(info));
  const auto found = values_.find(key);
  if (found != values_.end()) return &found->second;
  if (required) reject(key, fmt::format("is missing; give it {}", type));
  return nullptr;
}

std::int64_t Options::whole_number(OptionInfo info, std::optional<std::int64_t> fallback,
                                   std::int64_t min, std::int64_t max) {
  const std::string key = info.key;
  if (fallback) info.fallback = *fallback;
  info.min = static_cast<double>(min);
  info.max = static_cast<double>(max);
  const Value* value = find(std::move(info));
  std::int64_t result = fallback.value_or(0);
  if (value != nullptr) {
    const auto* integer = std::get_if<std::int64_t>(value);
    if (integer == nullptr) reject(key, "must be an integer");
    if (*integer < min || *integer > max) {
      reject(key, max == std::numeric_limits<std::int64_t>::max()
                      ? fmt::format("must be at least {}", min)
                      : fmt::format("must lie in [{}, {}]", min, max));
    }
    result = *integer;
  }
  resolved_[key] = result;
  return result;
}

std::int64_t Options::integer(const std::string& key, std::optional<std::int64_t> fallback,
                              std::int64_t min, std::int64_t max, const std::string& help) {
  return whole_number({key, "an integer", "", help, OptionKind::integer}, fallback, min, max);
}

std::int64_t Options::length(const std::string& key, std::optional<std::int64_t> fallback,
                             std::int64_t max, const std::string& help) {
  return whole_number({key, "a length in tokens", "", help, OptionKind::length}, fallback,
                      fallback == 0 ? 0 : 1, max);
}

double Options::number(const std::string& key, std::optional<double> fallback, double min,
                       double max, const std::string& help) {
  OptionInfo info{key, "a number", "", help, OptionKind::number, {}, min, max, {}};
  if (fallback) info.fallback = *fallback;
  const Value* value = find(std::move(info));
  double result = fallback.value_or(0);
  if (value != nullptr) {
    if (const auto* integer = std::get_if<std::int64_t>(value))
      result = static_cast<double>(*integer);
    else if (const auto* real = std::get_if<double>(value))
      result = *real;
    else
      reject(key, "must be a number");
    if (!(result >= min && result <= max) || !std::isfinite(result))
      reject(key, fmt::format("must be a finite number in [{}, {}]", min, max));
  }
  resolved_[key] = result;
  return result;
}

bool Options::boolean(const std::string& key, std::optional<bool> fallback,
                      const std::string& help) {
  OptionInfo info{key, "true or false", "", help, OptionKind::boolean};
  if (fallback) info.fallback = *fallback;
  const Value* value = find(std::move(info));
  bool result = fallback.value_or(false);
  if (value != nullptr) {
    const auto* flag = std::get_if<bool>(value);
    if (flag == nullptr) reject(key, "must be true or false");
    result = *flag;
  }
  resolved_[key] = result;
  return result;
}

std::string Options::text(const std::string& key, std::optional<std::string> fallback,
                          const std::vector<std::string>& allowed, const std::string& help) {
  const std::string type =
      allowed.empty() ? "a string" : fmt::format("one of {}", fmt::join(allowed, ", "));
  OptionInfo info{key, type, "", help, OptionKind::text, {}, 0, 0, allowed};
  if (fallback) info.fallback = *fallback;
  const Value* value = find(std::move(info));
  std::string result = fallback.value_or("");
  if (value != nullptr) {
    const auto* string = std::get_if<std::string>(value);
    if (string == nullptr) reject(key, "must be a string");
    result = *string;
    bool known = allowed.empty();
    for (const std::string& name : allowed)
      known = known || name == result;
    if (!known) {
      const std::string near = nearest_name(result, allowed);
      reject(key, fmt::format("must be {}{}", type,
                              near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
    }
  }
  resolved_[key] = result;
  return result;
}

std::vector<std::int64_t> Options::integers(const std::string& key,
                                            std::optional<std::vector<std::int64_t>> fallback,
                                            std::int64_t min, std::int64_t max,
                                            const std::string& help) {
  OptionInfo info{key, "a list of integers", "", help, OptionKind::integers};
  if (fallback) info.fallback = *fallback;
  info.min = static_cast<double>(min);
  info.max = static_cast<double>(max);
  const Value* value = find(std::move(info));
  std::vector<std::int64_t> result = fallback.value_or(std::vector<std::int64_t>{});
  if (value != nullptr) {
    if (const auto* one = std::get_if<std::int64_t>(value))
      result = {*one};
    else if (const auto* many = std::get_if<std::vector<std::int64_t>>(value))
      result = *many;
    else
      reject(key, "must be an integer or a list of integers");
    if (result.empty()) reject(key, "must not be empty");
    for (const std::int64_t x : result)
      if (x < min || x > max) reject(key, fmt::format("must have entries in [{}, {}]", min, max));
  }
  resolved_[key] = result;
  return result;
}

void Options::finish() const {
  std::vector<std::string> known;
  for (const OptionInfo& info : described_)
    known.push_back(info.key);
  for (const auto& [key, value] : values_) {
    if (resolved_.count(key) != 0) continue;
    const auto where = where_.find(key);
    fail(ErrorKind::usage, who_, "{}unknown key '{}'{}",
         where == where_.end() ? "" : where->second + ": ", key, hint_for(key, known));
  }
}

}  // namespace recallbench
