#pragma once

#include <cstdint>
#include <limits>
#include <span>

namespace recallbench {

/// Of a few finite numbers: their mean, smallest, largest and how many they are. All but `n` are
/// NaN where there are none.
struct Statistics {
  double mean = std::numeric_limits<double>::quiet_NaN();
  double min = std::numeric_limits<double>::quiet_NaN();
  double max = std::numeric_limits<double>::quiet_NaN();
  std::int64_t n = 0;
};

/// Values that are not finite are left out. The mean lies within [min, max] and does not depend on
/// the order of the values.
Statistics statistics_of(std::span<const double> values);

}  // namespace recallbench
