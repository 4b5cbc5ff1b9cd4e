#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

namespace recallbench {

/// One value of a configuration, as TOML and JSON know it.
using Value = std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>,
                           std::vector<double>, std::vector<std::string>>;

/// Name → value, sorted by name.
using Values = std::map<std::string, Value>;

/// As it would stand in a recipe: `true`, `3`, `0.01`, `"relu"`, `[3, -1]`; numbers in the
/// shortest form that reads back to the same bits.
std::string to_string(const Value& value);

enum class OptionKind { integer, length, number, boolean, text, integers };

/// What one key of an Options means, for `list`, for documentation, and for who draws values.
struct OptionInfo {
  std::string key, type, default_value, help;
  OptionKind kind = OptionKind::text;
  std::optional<Value> fallback = std::nullopt;  ///< the default; none: the key is required
  double min = 0, max = 0;                       ///< bounds of numbers, of each in a list
  std::vector<std::string> allowed = {};
};

/// The parameters of one mixer, task or state mixer, read strictly: each getter names a key, its
/// default and its bounds; `finish` then rejects keys that nobody read. Errors are
/// Error(usage) of the form `[who] recipe.toml:12:3: key 'num_heads' must be ...`.
class Options {
 public:
  /// `who` is named in every message: "mixer 'based'".
  explicit Options(std::string who, Values values = {});

  /// Sets or replaces a value; `where` ("file:line:column") goes into messages about it.
  void set(const std::string& key, Value value, std::string where = "");
  /// From now on a key that is not set has the value that `source` gives for its declaration, where
  /// it gives one: so random configurations are drawn.
  void supply(std::function<std::optional<Value>(const OptionInfo&)> source) {
    source_ = std::move(source);
  }
  bool has(const std::string& key) const { return values_.count(key) != 0; }
  const std::string& who() const { return who_; }

  /// An absent default makes the key required.
  std::int64_t integer(const std::string& key, std::optional<std::int64_t> fallback,
                       std::int64_t min, std::int64_t max, const std::string& help = "");
  /// A bound on the length of sequences, in tokens: an integer in [1, max]; with a default of 0
  /// in [0, max], 0 for none.
  std::int64_t length(const std::string& key, std::optional<std::int64_t> fallback,
                      std::int64_t max, const std::string& help = "");
  double number(const std::string& key, std::optional<double> fallback,
                double min = -std::numeric_limits<double>::infinity(),
                double max = std::numeric_limits<double>::infinity(), const std::string& help = "");
  bool boolean(const std::string& key, std::optional<bool> fallback, const std::string& help = "");
  /// One of `allowed`, where that is not empty.
  std::string text(const std::string& key, std::optional<std::string> fallback,
                   const std::vector<std::string>& allowed = {}, const std::string& help = "");
  /// A list of integers; a single integer counts as a list of one.
  std::vector<std::int64_t> integers(const std::string& key,
                                     std::optional<std::vector<std::int64_t>> fallback,
                                     std::int64_t min, std::int64_t max,
                                     const std::string& help = "");

  /// Throws if a key was set that no getter asked for, naming the nearest valid key.
  void finish() const;

  /// Throws Error(usage) about one key, for rules that a getter cannot state.
  [[noreturn]] void reject(const std::string& key, const std::string& why) const;

  /// What was set, before any of it is read.
  const Values& given() const { return values_; }
  /// Every key that was read, with the value in force: defaults filled in, types coerced.
  const Values& resolved() const { return resolved_; }
  /// Every key that was read, in reading order.
  const std::vector<OptionInfo>& described() const { return described_; }

 private:
  /// The value in `values_`, after asking the source; null where the default holds.
  const Value* find(OptionInfo info);
  std::int64_t whole_number(OptionInfo info, std::optional<std::int64_t> fallback, std::int64_t min,
                            std::int64_t max);

  std::string who_;
  Values values_;
  std::map<std::string, std::string> where_;
  Values resolved_;
  std::vector<OptionInfo> described_;
  std::function<std::optional<Value>(const OptionInfo&)> source_;
};

}  // namespace recallbench
