#include "tasks/sampling/mt19937_draws.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

namespace recallbench {

std::uint32_t below_or_equal(std::mt19937& engine, std::uint32_t max) {
  if (max == 0) return 0;
  const std::uint32_t mask = ~std::uint32_t{0} >> std::countl_zero(max);
  std::uint32_t word = static_cast<std::uint32_t>(engine()) & mask;
  while (word > max)
    word = static_cast<std::uint32_t>(engine()) & mask;
  return word;
}

void permutation(std::mt19937& engine, std::span<std::uint32_t> out) {
  std::iota(out.begin(), out.end(), 0u);
  for (std::size_t i = out.size(); i-- > 1;)
    std::swap(out[i], out[below_or_equal(engine, static_cast<std::uint32_t>(i))]);
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
