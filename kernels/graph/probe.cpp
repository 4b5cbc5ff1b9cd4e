#include "kernels/graph/probe.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/graph/parameters.h"

namespace recallbench {

std::vector<double> normal_numbers(Index count, std::uint64_t seed, double scale) {
  std::vector<double> numbers(static_cast<std::size_t>(count));
  RandomStream random(seed, Purpose::test_values, 0, 0);
  normal(scale)(numbers, random);
  return numbers;
}

double output_weight(int output, Index i) {
  return std::sin(0.7 + 1.3 * output + 0.37 * static_cast<double>(i));
}

double largest_magnitude(const std::vector<double>& a) {
  double largest = 0;
  for (const double x : a)
    largest = std::max(largest, std::abs(x));
  return largest;
}

double relative_error(const std::vector<double>& a, const std::vector<double>& b, double least) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double scale = least, error = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) || std::isnan(b[i])) return std::numeric_limits<double>::quiet_NaN();
    scale = std::max(scale, std::abs(b[i]));
    error = std::max(error, std::abs(a[i] - b[i]));
  }
  return error / scale;
}

}  // namespace recallbench
