#include "sweeps/config/table_reader.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/base/names.h"

namespace recallbench {

void reject_value(const Node& node, const std::string& what, const std::string& must) {
  fail_at(node.place, "{} must be {} (it is {})", what, must, node.text());
}

void fail_unknown_key(const Place& place, const std::string& key, const std::string& table,
                      const std::vector<std::string>& known) {
  fail_at(place, "unknown key '{}' in {}{}", key, table, hint_for(key, known));
}

TableReader::TableReader(const Node& node, std::string name, const std::vector<std::string>& known)
    : node_(&node), table_(node.get<Table>()), name_(std::move(name)) {
  if (table_ == nullptr) reject_value(node, name_, "a table");
  for (const Entry& entry : table_->entries)
    if (!known.empty() && std::find(known.begin(), known.end(), entry.key) == known.end())
      fail_unknown_key(entry.place, entry.key, name_, known);
}

const Place& TableReader::place(const std::string& key) const {
  const Node* value = table_->find(key);
  return value == nullptr ? node_->place : value->place;
}

void TableReader::reject(const std::string& key, const std::string& must) const {
  const std::string what = fmt::format("'{}' in {}", key, name_);
  const Node* value = table_->find(key);
  if (value == nullptr) fail_at(node_->place, "{} must be {}", what, must);
  reject_value(*value, what, must);
}

const Node* TableReader::get(const std::string& key, bool required) const {
  const Node* value = table_->find(key);
  if (value != nullptr || !required) return value;
  fail_at(node_->place, "{} needs the key '{}'", name_, key);
}

std::int64_t TableReader::integer(const std::string& key, std::optional<std::int64_t> fallback,
                                  std::int64_t min, std::int64_t max) const {
  const Node* node = get(key, !fallback.has_value());
  if (node == nullptr) return *fallback;
  const auto* value = node->get<std::int64_t>();
  const std::string range = max == std::numeric_limits<std::int64_t>::max()
                                ? fmt::format("an integer of at least {}", min)
                                : fmt::format("an integer in [{}, {}]", min, max);
  if (value == nullptr || *value < min || *value > max) reject(key, range);
  return *value;
}

double TableReader::number(const std::string& key, std::optional<double> fallback) const {
  const Node* node = get(key, !fallback.has_value());
  if (node == nullptr) return *fallback;
  double value = std::numeric_limits<double>::quiet_NaN();
  if (const auto* integer = node->get<std::int64_t>()) value = static_cast<double>(*integer);
  if (const auto* real = node->get<double>()) value = *real;
  if (!std::isfinite(value)) reject(key, "a finite number");
  return value + 0.0;  // -0 is 0
}

bool TableReader::boolean(const std::string& key, bool fallback) const {
  const Node* node = get(key, false);
  if (node == nullptr) return fallback;
  const auto* value = node->get<bool>();
  if (value == nullptr) reject(key, "true or false");
  return *value;
}

std::string TableReader::text(const std::string& key, std::optional<std::string> fallback,
                              const std::vector<std::string>& allowed) const {
  const Node* node = get(key, !fallback.has_value());
  if (node == nullptr) return *fallback;
  const auto* value = node->get<std::string>();
  if (value == nullptr) reject(key, "a string");
  if (allowed.empty() || std::find(allowed.begin(), allowed.end(), *value) != allowed.end())
    return *value;
  const std::string near = nearest_name(*value, allowed);
  fail_at(node->place, "'{}' in {} must be one of {} (it is \"{}\"){}", key, name_,
          fmt::join(allowed, ", "), *value,
          near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
}

const Node* TableReader::any(const std::string& key) const {
  return get(key, false);
}

const List* TableReader::list(const std::string& key) const {
  const Node* node = get(key, false);
  if (node == nullptr) return nullptr;
  const auto* value = node->get<List>();
  if (value == nullptr) reject(key, "a list");
  if (value->empty())
    fail_at(node->place, "'{}' in {} is empty; give at least one entry", key, name_);
  return value;
}

const Node* TableReader::table(const std::string& key) const {
  const Node* node = get(key, false);
  if (node != nullptr && node->get<Table>() == nullptr) reject(key, "a table");
  return node;
}

}  // namespace recallbench
