#include "kernels/base/names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <numeric>

namespace recallbench {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

/// '_' between the words and at both ends, so that whole words can be sought.
std::string as_words(std::string_view name) {
  std::string words = fmt::format("_{}_", name);
  std::replace(words.begin(), words.end(), '.', '_');
  return words;
}

std::string initials(const std::string& words) {
  std::string letters;
  for (std::size_t i = 1; i < words.size(); ++i)
    if (words[i - 1] == '_' && words[i] != '_') letters += words[i];
  return letters;
}

/// num_heads for heads, lr for learning_rate.
std::string name_with_words_of(std::string_view name, const std::vector<std::string>& known) {
  const std::string words = as_words(name), letters = initials(words);
  std::string best;
  if (letters.empty()) return best;
  for (const std::string& candidate : known) {
    const std::string own = as_words(candidate);
    const bool is_short_form = letters.size() > 1 && own.ends_with(as_words(letters));
    if (own.find(words) == std::string::npos && !is_short_form) continue;
    if (best.empty() || candidate.size() < best.size()) best = candidate;
  }
  return best;
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  name = name.substr(0, 128);
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best.empty() ? name_with_words_of(name, known) : best;
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
