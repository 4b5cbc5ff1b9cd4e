#include "kernels/base/names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

namespace recallbench {
namespace {

/// Letters inserted, left out or replaced, and neighbours swapped.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(before), row(before);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before.swap(last);
    last.swap(row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

/// What follows the last dot of a path.
std::string_view last_part(std::string_view path) {
  return path.substr(path.rfind('.') + 1);
}

/// '_' between the words and at both ends, so that whole words can be sought.
std::string as_words(std::string_view name) {
  constexpr std::string_view kBetween = ".-/ ";
  std::string words = fmt::format("_{}_", name);
  for (char& c : words)
    if (kBetween.find(c) != std::string_view::npos) c = '_';
  return words;
}

std::string initials(const std::string& words) {
  std::string letters;
  for (std::size_t i = 1; i < words.size(); ++i)
    if (words[i - 1] == '_' && words[i] != '_') letters += words[i];
  return letters;
}

/// num_heads for head and heads, lr for learning_rate: of those with all words, where a last word
/// of three letters or more may be the beginning of theirs, the one with the fewest letters more.
std::string name_with_words_of(std::string_view name, const std::vector<std::string>& known) {
  constexpr std::size_t kShortestPart = 3;
  const std::string words = as_words(name), letters = initials(words);
  const std::string begun = words.substr(0, words.size() - (name.size() < kShortestPart ? 0 : 1));
  std::string best;
  std::pair<std::size_t, std::size_t> best_more;
  if (letters.empty()) return best;
  for (const std::string& candidate : known) {
    const std::string own = as_words(candidate);
    const std::size_t place = own.find(begun);
    const bool is_short_form = letters.size() > 1 && own.ends_with(as_words(letters));
    if (place == std::string::npos && !is_short_form) continue;
    const std::size_t end = is_short_form ? 0 : place + words.size() - 1;
    const std::pair more{is_short_form ? 0 : own.find('_', end) - end, last_part(candidate).size()};
    if (!best.empty() && more >= best_more) continue;
    best = candidate;
    best_more = more;
  }
  return best;
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  name = name.substr(0, 128);
  std::string best;
  std::size_t best_edits = std::max<std::size_t>(2, name.size() / 3) + 1;
  const auto offer = [&](std::string_view part, const std::string& candidate) {
    const std::size_t edits = edit_distance(name, part);
    if (edits >= best_edits || 2 * edits > std::max(name.size(), part.size())) return;
    best_edits = edits;
    best = candidate;
  };
  const bool is_path = name.find('.') != std::string_view::npos;
  for (const std::string& candidate : known) {
    offer(candidate, candidate);
    if (!is_path) offer(last_part(candidate), candidate);
  }
  if (!best.empty() && best_edits <= 1) return best;
  const std::string of_words = name_with_words_of(name, known);
  return of_words.empty() ? best : of_words;
}

std::string hint_for(std::string_view name, const std::vector<std::string>& known) {
  if (const std::string near = nearest_name(name, known); !near.empty())
    return fmt::format("; did you mean '{}'?", near);
  if (known.empty()) return "; none are known here";
  constexpr std::ptrdiff_t kMostListed = 12;
  const std::ptrdiff_t rest = std::ssize(known) - kMostListed;
  if (rest < 2) return fmt::format("; known: {}", fmt::join(known, ", "));
  return fmt::format("; known: {} and {} more",
                     fmt::join(known.begin(), known.begin() + kMostListed, ", "), rest);
}

}  // namespace recallbench
