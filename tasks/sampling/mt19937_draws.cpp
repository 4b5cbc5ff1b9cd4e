#include "tasks/sampling/mt19937_draws.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>
#include <vector>

namespace recallbench {

void permutation(std::mt19937& engine, std::span<std::uint32_t> out) {
  std::iota(out.begin(), out.end(), 0u);
  if (out.size() < 2) return;
  // Place i is swapped with one from 0 to i: the first word, masked to the bits of i, that is no
  // larger. A quarter of the words is larger, and which cannot be foreseen: so there is no branch
  // on that, but the next word is written over one that is.
  std::vector<std::uint32_t> with(out.size());
  auto i = static_cast<std::uint32_t>(out.size() - 1);
  for (std::uint32_t mask = ~std::uint32_t{0} >> std::countl_zero(i); i > 0; mask /= 2)
    while (i > mask / 2) {
      const std::uint32_t word = static_cast<std::uint32_t>(engine()) & mask;
      with[i] = word;
      i -= word <= i ? 1 : 0;
    }
  for (std::size_t k = out.size(); k-- > 1;)
    std::swap(out[k], out[with[k]]);
}

double uniform53(std::mt19937& engine) {
  const auto high = static_cast<std::uint64_t>(engine()) >> 5;
  const auto low = static_cast<std::uint64_t>(engine()) >> 6;
  return static_cast<double>(high << 26 | low) * 0x1p-53;
}

std::vector<std::uint32_t> weighted_choice(std::mt19937& engine, std::vector<double> probabilities,
                                           std::size_t k) {
  std::vector<std::uint32_t> found;
  std::vector<double> draws, cumulative(probabilities.size());
  while (found.size() < k) {
    draws.resize(k - found.size());
    for (double& x : draws)
      x = uniform53(engine);
    for (const std::uint32_t item : found)
      probabilities[item] = 0;
    std::partial_sum(probabilities.begin(), probabilities.end(), cumulative.begin());
    const double total = cumulative.back();
    for (double& x : cumulative)
      x /= total;
    std::vector<bool> seen(probabilities.size(), false);
    for (const double x : draws) {
      const auto place = std::upper_bound(cumulative.begin(), cumulative.end(), x);
      const auto item = static_cast<std::size_t>(place - cumulative.begin());
      if (!seen[item]) found.push_back(static_cast<std::uint32_t>(item));
      seen[item] = true;
    }
  }
  return found;
}

}  // namespace recallbench
