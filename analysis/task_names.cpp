#include "analysis/task_names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "analysis/characters.h"
#include "analysis/csv.h"
#include "kernels/base/text.h"

namespace recallbench {
namespace {

constexpr std::size_t kMostColumns = 60;
constexpr std::size_t kMostValueColumns = 24;
constexpr std::size_t kMostListed = 3;  // values of one option

/// An option of one split's data ("", "train" or "valid": test data need no word), all its values.
using Place = std::pair<std::string, std::string>;
struct Task {
  std::set<std::string> kinds;  ///< of the test data
  std::map<Place, std::set<std::string>> values;
};

/// "300 mqar(vocab_size=512,...)" of the data of `part`.
void read_segment(std::string_view segment, const std::string& part, Task& task) {
  const std::size_t space = segment.find(' '), open = segment.find('(');
  if (space == segment.npos || open == segment.npos || open < space || segment.back() != ')')
    return;
  const std::string kind(segment.substr(space + 1, open - space - 1));
  if (part.empty()) task.kinds.insert(kind);
  task.values[{part, "task"}].insert(kind);
  task.values[{part, "num_examples"}].insert(std::string(segment.substr(0, space)));
  for (const std::string_view option :
       split_outside_brackets(segment.substr(open + 1, segment.size() - open - 2), ",")) {
    const std::size_t equals = option.find('=');
    if (equals == option.npos) continue;
    task.values[{part, std::string(option.substr(0, equals))}].insert(
        std::string(option.substr(equals + 1)));
  }
}

Task read_task(std::string_view text) {
  Task task;
  for (const std::string_view section : split_outside_brackets(text, "; ")) {
    const std::string_view word = section.substr(0, section.find(' '));
    if (word.size() == section.size()) continue;
    const std::string_view rest = section.substr(word.size() + 1);
    if (word.ends_with("_seed")) task.values[{"", std::string(word)}].insert(std::string(rest));
    for (const std::string_view segment : split_outside_brackets(rest, " + "))
      if (!segment.empty()) read_segment(segment, word == "test" ? "" : std::string(word), task);
  }
  return task;
}

/// The order in which options are told: test data, then training and validation data; in each first
/// what makes recall hard, last how many examples there are and digests, which say nothing.
std::tuple<int, int, std::string> rank(const Place& place) {
  constexpr std::string_view kFirst[] = {"vocab_size", "input_seq_len", "num_kv_pairs"};
  constexpr std::string_view kLast[] = {"num_examples", "digest"};
  const int part = place.first.empty() ? 0 : place.first == "train" ? 1 : 2;
  for (int i = 0; i < 3; ++i)
    if (place.second == kFirst[i]) return {part, i, ""};
  for (int i = 0; i < 2; ++i)
    if (place.second == kLast[i]) return {part, 4 + i, ""};
  return {part, 3, place.second};
}

/// Whether an option is told only where two tasks would have one name without it.
bool tells_little(const Place& place) {
  return !place.first.empty() || place.second == "num_examples" || place.second == "digest";
}

/// A value as people write it: a string without quotes, a path without folders.
std::string value_text(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
    value = value.substr(1, value.size() - 2);
  const std::size_t slash = value.rfind('/');
  if (slash != value.npos && slash + 1 < value.size()) value.remove_prefix(slash + 1);
  return plain_text(value, kMostValueColumns);
}

/// "64", "64/128", "64 to 1024".
std::string values_text(const std::set<std::string>& values) {
  std::vector<std::string> sorted(values.begin(), values.end());
  const auto number = [](const std::string& value) { return parse_number(value); };
  if (std::all_of(sorted.begin(), sorted.end(), number)) {
    std::sort(sorted.begin(), sorted.end(),
              [&](const auto& a, const auto& b) { return *number(a) < *number(b); });
    if (sorted.size() > kMostListed)
      return fmt::format("{} to {}", value_text(sorted.front()), value_text(sorted.back()));
  }
  for (std::string& value : sorted)
    value = value_text(value);
  return fmt::format("{}", fmt::join(sorted, "/"));
}

std::string told(const Task& task, const Place& place) {
  const auto found = task.values.find(place);
  if (found == task.values.end()) return "";
  return fmt::format(", {}{}{} {}", place.first, place.first.empty() ? "" : " ", place.second,
                     values_text(found->second));
}

bool all_differ(const std::vector<std::string>& names) {
  return std::set<std::string>(names.begin(), names.end()).size() == names.size();
}

/// Where the tasks differ, in the order in which it is told.
std::vector<Place> differing_places(const std::vector<Task>& tasks) {
  std::set<Place> all;
  for (const Task& task : tasks)
    for (const auto& [place, values] : task.values)
      if (place.second != "task" || !place.first.empty()) all.insert(place);
  std::vector<Place> differing;
  for (const Place& place : all) {
    std::set<std::string> texts;
    for (const Task& task : tasks)
      texts.insert(told(task, place));
    if (texts.size() > 1) differing.push_back(place);
  }
  std::stable_sort(differing.begin(), differing.end(),
                   [](const Place& a, const Place& b) { return rank(a) < rank(b); });
  return differing;
}

/// Numbers those that are equal: "mqar (1)", "mqar (2)".
std::vector<std::string> numbered(std::vector<std::string> names, const char* form,
                                  std::size_t limit) {
  std::map<std::string, int> seen;
  const auto key = [](std::string name) {
    for (char& c : name)
      c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return name;
  };
  std::map<std::string, int> times;
  for (const std::string& name : names)
    ++times[key(name)];
  std::set<std::string> taken;
  for (const std::string& name : names)
    if (times[key(name)] == 1) taken.insert(key(name));
  for (std::string& name : names) {
    const std::string as_was = name;
    if (times[key(as_was)] == 1) continue;
    do {
      const std::string number = fmt::format(fmt::runtime(form), ++seen[key(as_was)]);
      name = plain_text(as_was, limit - number.size()) + number;
    } while (!taken.insert(key(name)).second);
  }
  return names;
}

/// As names are shown, each still distinct.
std::vector<std::string> shortened(std::vector<std::string> names) {
  for (std::string& name : names) {
    name = plain_text(name, kMostColumns);
    if (name.find_first_not_of(' ') == name.npos) name = "task";
  }
  return numbered(names, " ({})", kMostColumns);
}

}  // namespace

std::vector<std::string> task_names(const std::vector<std::string>& texts) {
  std::vector<Task> tasks;
  std::vector<std::string> names;
  for (const std::string& text : texts) {
    tasks.push_back(read_task(text));
    const std::set<std::string>& kinds = tasks.back().kinds;
    names.push_back(kinds.empty() ? text : fmt::format("{}", fmt::join(kinds, " + ")));
  }
  if (all_differ(names)) return shortened(std::move(names));
  for (const Place& place : differing_places(tasks)) {
    if (tells_little(place) && all_differ(names)) continue;
    std::vector<std::string> longer = names;
    for (std::size_t i = 0; i < tasks.size(); ++i)
      longer[i] += told(tasks[i], place);
    const bool fits = std::all_of(longer.begin(), longer.end(), [](const std::string& name) {
      return text_width(plain_text(name)) <= kMostColumns;
    });
    if (fits) names = longer;
  }
  return shortened(std::move(names));
}

std::vector<std::string> file_parts(const std::vector<std::string>& names) {
  std::vector<std::string> parts;
  for (const std::string& name : names) {
    std::string part;
    for (const char c : name) {
      const bool is_word = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
      if (is_word)
        part += c;
      else if (!part.empty() && part.back() != '-')
        part += '-';
    }
    while (!part.empty() && part.back() == '-')
      part.pop_back();
    parts.push_back(part.empty() ? "task" : part);
  }
  return numbered(parts, "-{}", 2 * kMostColumns);
}

}  // namespace recallbench
