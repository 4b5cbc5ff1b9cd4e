#include "analysis/frontier.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace recallbench {
namespace {

bool is_comparable(const Candidate& c) {
  return std::isfinite(c.state) && c.state >= 0 && std::isfinite(c.accuracy);
}

}  // namespace

std::vector<bool> pareto_frontier(std::span<const Candidate> candidates) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < candidates.size(); ++i)
    if (is_comparable(candidates[i])) order.push_back(i);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const Candidate &x = candidates[a], &y = candidates[b];
    return x.state != y.state ? x.state < y.state : x.accuracy > y.accuracy;
  });
  // In this order only an earlier candidate can be better, and the last one that was kept has the
  // highest accuracy so far.
  std::vector<bool> kept(candidates.size(), false);
  Candidate last{-1, -std::numeric_limits<double>::infinity()};
  for (const std::size_t i : order) {
    const Candidate& c = candidates[i];
    const bool equal = c.state == last.state && c.accuracy == last.accuracy;
    if (!equal && !(c.accuracy > last.accuracy)) continue;
    kept[i] = true;
    last = c;
  }
  return kept;
}

}  // namespace recallbench
