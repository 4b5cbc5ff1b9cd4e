#include "analysis/statistics.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace recallbench {

Statistics statistics_of(std::span<const double> values) {
  std::vector<double> sorted;
  for (const double value : values)
    if (std::isfinite(value)) sorted.push_back(value);
  if (sorted.empty()) return {};
  std::sort(sorted.begin(), sorted.end());
  double sum = 0;
  for (const double value : sorted)
    sum += value;
  const double mean = sum / static_cast<double>(sorted.size());
  return {std::clamp(mean, sorted.front(), sorted.back()), sorted.front(), sorted.back(),
          static_cast<std::int64_t>(sorted.size())};
}

}  // namespace recallbench
