#include "sweeps/config/variables.h"

#include <cctype>
#include <charconv>

#include "kernels/base/names.h"

namespace recallbench {
namespace {

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

class Substitution {
 public:
  explicit Substitution(const Bindings& bindings) : bindings_(bindings) {}

  Node apply(const Node& node) {
    constexpr int kMostValues = 100000;
    if (++values_ > kMostValues)
      fail_at(node.place, "the variables used here unfold to more than {} values", kMostValues);
    if (const auto reference = as_reference(node)) return replace(node, *reference);
    Node copy;
    copy.place = node.place;
    if (const auto* list = node.get<List>()) {
      List items;
      for (const Node& item : *list)
        items.push_back(apply(item));
      copy.value = std::move(items);
    } else if (const auto* table = node.get<Table>()) {
      Table entries;
      for (const Entry& entry : table->entries)
        entries.entries.push_back({entry.key, entry.place, apply(entry.value)});
      copy.value = std::move(entries);
    } else {
      copy.value = node.value;
    }
    return copy;
  }

 private:
  Node replace(const Node& node, const Reference& reference) {
    constexpr int kDeepest = 16;
    const auto found = bindings_.find(reference.name);
    if (found == bindings_.end()) {
      std::vector<std::string> known;
      for (const auto& [name, value] : bindings_)
        known.push_back(name);
      fail_at(node.place, "'${}' is not declared in [sweep.grid], a case or the model's grid{}",
              reference.name, hint_for(reference.name, known));
    }
    if (++depth_ > kDeepest) fail_at(node.place, "variable '{}' refers to itself", reference.name);
    Node value = apply(*found->second);
    --depth_;
    if (reference.operation != 0) calculate(node, reference, value);
    return value;
  }

  static void calculate(const Node& node, const Reference& reference, Node& value) {
    const std::string use = *node.get<std::string>();
    const std::int64_t by = reference.operand;
    if (auto* real = value.get<double>()) {
      *real = reference.operation == '*' ? *real * static_cast<double>(by)
                                         : *real / static_cast<double>(by);
    } else if (auto* integer = value.get<std::int64_t>()) {
      if (reference.operation == '/' && *integer % by != 0)
        fail_at(node.place, "\"{}\" must divide exactly, and {} is not a multiple of {}", use,
                *integer, by);
      if (reference.operation == '/')
        *integer /= by;
      else if (__builtin_mul_overflow(*integer, by, integer))
        fail_at(node.place, "\"{}\" is beyond 64 bits", use);
    } else {
      fail_at(node.place, "\"{}\" needs a number, and '{}' is {} here ({})", use, reference.name,
              value.type_name(), value.text());
    }
    value.place = node.place;
  }

  const Bindings& bindings_;
  int values_ = 0;
  int depth_ = 0;
};

}  // namespace

bool is_variable_name(const std::string& name) {
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) != 0) return false;
  for (const char c : name)
    if (!is_word(c)) return false;
  return true;
}

std::optional<Reference> as_reference(const Node& node) {
  const auto* text = node.get<std::string>();
  if (text == nullptr || text->empty() || (*text)[0] != '$') return std::nullopt;
  Reference reference;
  std::size_t end = 1;
  // A dot occurs only in the names of the axes that overrides make.
  while (end < text->size() && (is_word((*text)[end]) || (*text)[end] == '.'))
    ++end;
  reference.name = text->substr(1, end - 1);
  bool good = !reference.name.empty();
  if (good && end < text->size()) {
    reference.operation = (*text)[end];
    const char* last = text->data() + text->size();
    const auto parsed = std::from_chars(text->data() + end + 1, last, reference.operand);
    good = (reference.operation == '*' || reference.operation == '/') && parsed.ec == std::errc() &&
           parsed.ptr == last && reference.operand > 0;
  }
  if (!good)
    fail_at(node.place,
            "\"{}\" is no variable; write \"$name\", \"$name/4\" or \"$name*2\" with a positive "
            "integer",
            *text);
  return reference;
}

void collect_references(const Node& node, std::vector<std::pair<std::string, Place>>& found) {
  if (const auto reference = as_reference(node)) {
    found.emplace_back(reference->name, node.place);
  } else if (const auto* list = node.get<List>()) {
    for (const Node& item : *list)
      collect_references(item, found);
  } else if (const auto* table = node.get<Table>()) {
    for (const Entry& entry : table->entries)
      collect_references(entry.value, found);
  }
}

Node substitute(const Node& node, const Bindings& bindings) {
  return Substitution(bindings).apply(node);
}

}  // namespace recallbench
