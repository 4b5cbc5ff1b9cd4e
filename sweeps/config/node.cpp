#include "sweeps/config/node.h"

#include "kernels/base/options.h"

namespace recallbench {
namespace {

void append_text(const Node& node, std::string& out) {
  constexpr std::size_t kEnough = 60;
  if (out.size() > kEnough) return;
  if (const auto* list = node.get<List>()) {
    out += '[';
    for (std::size_t i = 0; i < list->size() && out.size() <= kEnough; ++i) {
      if (i != 0) out += ", ";
      append_text((*list)[i], out);
    }
    out += ']';
  } else if (const auto* table = node.get<Table>()) {
    out += '{';
    for (std::size_t i = 0; i < table->entries.size() && out.size() <= kEnough; ++i) {
      if (i != 0) out += ", ";
      out += table->entries[i].key + " = ";
      append_text(table->entries[i].value, out);
    }
    out += '}';
  } else if (const auto* flag = node.get<bool>()) {
    out += to_string(Value(*flag));
  } else if (const auto* integer = node.get<std::int64_t>()) {
    out += to_string(Value(*integer));
  } else if (const auto* real = node.get<double>()) {
    out += to_string(Value(*real));
  } else {
    out += to_string(Value(*node.get<std::string>()));
  }
}

}  // namespace

std::string Place::text() const {
  const std::string name = source ? *source : std::string();
  return line == 0 ? name : fmt::format("{}:{}:{}", name, line, column);
}

const Node* Table::find(std::string_view key) const {
  for (const Entry& entry : entries)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

Node* Table::find(std::string_view key) {
  return const_cast<Node*>(std::as_const(*this).find(key));
}

void Table::set(const std::string& key, const Place& place, Node value) {
  for (Entry& entry : entries) {
    if (entry.key != key) continue;
    entry.place = place;
    entry.value = std::move(value);
    return;
  }
  entries.push_back({key, place, std::move(value)});
}

std::vector<std::string> Table::keys() const {
  std::vector<std::string> names;
  for (const Entry& entry : entries)
    names.push_back(entry.key);
  return names;
}

const char* Node::type_name() const {
  static constexpr const char* kNames[] = {"true or false", "an integer", "a number",
                                           "a string",      "a list",     "a table"};
  return kNames[value.index()];
}

std::string Node::text() const {
  std::string out;
  append_text(*this, out);
  if (out.size() > 64) out = out.substr(0, 60) + " ...";
  return out;
}

}  // namespace recallbench
