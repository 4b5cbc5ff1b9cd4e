#include "tasks/sampling/power_law.h"

#include <algorithm>
#include <array>
#include <bit>

#include "kernels/base/error.h"

namespace recallbench {
namespace {

__extension__ using Wide = unsigned __int128;

/// Fraction bits of logarithms and exponents.
constexpr int kLogBits = 58;

/// log2(i) * 2^58. Squaring a number in [1, 2) moves the next bit of its logarithm before the
/// binary point.
std::uint64_t log2_fixed(std::uint64_t i) {
  const int exponent = std::bit_width(i) - 1;
  std::uint64_t x = i << (63 - exponent);  // in [1, 2), 63 fraction bits
  std::uint64_t result = static_cast<std::uint64_t>(exponent) << kLogBits;
  for (int bit = kLogBits - 1; bit >= 0; --bit) {
    const Wide square = Wide{x} * x;
    const bool two_or_more = (square >> 127) != 0;
    if (two_or_more) result |= std::uint64_t{1} << bit;
    x = static_cast<std::uint64_t>(square >> (two_or_more ? 64 : 63));
  }
  return result;
}

/// The largest integer whose square is at most n.
std::uint64_t integer_root(Wide n) {
  std::uint64_t root = 0;
  for (int bit = 63; bit >= 0; --bit) {
    const std::uint64_t candidate = root | std::uint64_t{1} << bit;
    if (Wide{candidate} * candidate <= n) root = candidate;
  }
  return root;
}

/// Entry k is 2^(-2^-(k + 1)) * 2^63.
using Roots = std::array<std::uint64_t, kLogBits>;

Roots roots_of_one_half() {
  Roots roots;
  std::uint64_t last = std::uint64_t{1} << 62;
  for (std::uint64_t& root : roots) {
    root = integer_root(Wide{last} << 63);
    last = root;
  }
  return roots;
}

/// 2^-y * 2^63 for y with 58 fraction bits.
std::uint64_t exp2_negative(Wide y, const Roots& roots) {
  const Wide whole = y >> kLogBits;
  if (whole >= 63) return 0;
  std::uint64_t result = std::uint64_t{1} << 63;
  for (int k = 0; k < kLogBits; ++k) {
    if ((y >> (kLogBits - 1 - k) & 1) != 0)
      result = static_cast<std::uint64_t>(Wide{result} * roots[static_cast<std::size_t>(k)] >> 63);
  }
  return result >> static_cast<int>(whole);
}

}  // namespace

std::vector<std::uint64_t> power_law_weights(std::int64_t size, double power_a) {
  check(size >= 1 && size <= (1 << 19) && power_a > 0 && power_a <= 16, "power law",
        "need size in [1, 2^19] and power_a in (0, 16], came {} and {}", size, power_a);
  const double exponent = power_a - 1;
  const auto magnitude = static_cast<std::uint64_t>((exponent < 0 ? -exponent : exponent) * 0x1p58);
  const std::uint64_t top = exponent > 0 ? log2_fixed(static_cast<std::uint64_t>(size)) : 0;
  const Roots roots = roots_of_one_half();

  std::vector<std::uint64_t> weights(static_cast<std::size_t>(size));
  Wide sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::uint64_t log = log2_fixed(i + 1);
    const std::uint64_t distance = exponent > 0 ? top - log : log;  // to the largest weight, 1
    weights[i] = exp2_negative(Wide{magnitude} * distance >> kLogBits, roots);
    sum += weights[i];
  }
  for (std::uint64_t& weight : weights)
    weight = std::max<std::uint64_t>(1, static_cast<std::uint64_t>((Wide{weight} << 60) / sum));
  return weights;
}

}  // namespace recallbench
