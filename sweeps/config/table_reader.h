#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sweeps/config/node.h"

namespace recallbench {

/// Reads one table of a recipe strictly: the constructor refuses unknown keys, each getter names a
/// key, its default and its bounds. Errors are Error(usage) with the place of the value or key. An
/// absent default makes a key required.
class TableReader {
 public:
  /// `name` is how messages call the table: "[train]"; `known` are all keys that it may have
  /// (empty: any).
  TableReader(const Node& node, std::string name, const std::vector<std::string>& known);

  std::int64_t integer(const std::string& key, std::optional<std::int64_t> fallback,
                       std::int64_t min, std::int64_t max) const;
  double number(const std::string& key, std::optional<double> fallback) const;
  bool boolean(const std::string& key, bool fallback) const;
  /// One of `allowed`, where that is not empty.
  std::string text(const std::string& key, std::optional<std::string> fallback,
                   const std::vector<std::string>& allowed = {}) const;
  /// The value of any type, or null where the key is absent.
  const Node* any(const std::string& key) const;
  /// The same, but a list (of at least one entry) or a table.
  const List* list(const std::string& key) const;
  const Node* table(const std::string& key) const;

  bool has(const std::string& key) const { return table_->find(key) != nullptr; }
  /// Of the value, or of the table where the key is absent.
  const Place& place(const std::string& key) const;
  const Place& place() const { return node_->place; }
  const std::string& name() const { return name_; }

  /// Throws: `place: 'lr' in [train] must be positive (it is -1)`.
  [[noreturn]] void reject(const std::string& key, const std::string& must) const;

 private:
  const Node* get(const std::string& key, bool required) const;

  const Node* node_;
  const Table* table_;
  std::string name_;
};

/// Throws Error(usage): `place: 'x' must be an integer (it is "3")`.
[[noreturn]] void reject_value(const Node& node, const std::string& what, const std::string& must);

/// "f.toml:3:7: unknown key 'x' in [train]; did you mean 'y'?"
[[noreturn]] void fail_unknown_key(const Place& place, const std::string& key,
                                   const std::string& table, const std::vector<std::string>& known);

}  // namespace recallbench
