#include "kernels/base/philox.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace recallbench {
namespace {

using Words = std::array<std::uint32_t, 4>;

std::uint64_t key_of(std::uint32_t k0, std::uint32_t k1) {
  return std::uint64_t{k1} << 32 | k0;
}

/// The known-answer vectors that are published with the generator's own library, Random123.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox{0}(0, 0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(Philox{key_of(ones, ones)}(ones, ones, ones, ones),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox{key_of(0xa4093822, 0x299f31d0)}(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, WordsAreTheBlocksOfItsCounter) {
  RandomStream stream(77, Purpose::task_data, 5, 6);
  for (std::uint32_t block = 0; block < 3; ++block) {
    const Words expected = Philox{77}(block, 5, 6, static_cast<std::uint32_t>(Purpose::task_data));
    for (const std::uint32_t word : expected)
      EXPECT_EQ(stream.next(), word);
  }
}

TEST(RandomStream, EveryPartOfTheCounterChangesIt) {
  std::set<std::uint64_t> first;
  for (const std::uint64_t key : {1, 2})
    for (const Purpose purpose : {Purpose::dropout, Purpose::data_order})
      for (const std::uint32_t a : {0, 1})
        for (const std::uint32_t b : {0, 1})
          first.insert(RandomStream(key, purpose, a, b).next64());
  EXPECT_EQ(first.size(), 16u);
}

/// Pearson's statistic of `counts` against equal shares.
double chi_square(const std::vector<std::int64_t>& counts, double total) {
  const double expected = total / static_cast<double>(counts.size());
  double sum = 0;
  for (const std::int64_t count : counts)
    sum += std::pow(static_cast<double>(count) - expected, 2);
  return sum / expected;
}

/// chi^2 with k degrees of freedom exceeds k + 5 sqrt(2 k) less than once in 10^5; seeds are fixed.
TEST(RandomStream, BelowIsUniform) {
  for (const std::uint32_t n : {2u, 3u, 7u, 100u, 1000u}) {
    RandomStream stream(n, Purpose::test_values, 0, 0);
    std::vector<std::int64_t> counts(n);
    const int draws = 200000;
    for (int i = 0; i < draws; ++i)
      ++counts.at(stream.below(n));
    const double freedom = n - 1.0;
    const double statistic = chi_square(counts, draws);
    EXPECT_TRUE(statistic <= freedom + 5 * std::sqrt(2 * freedom)) << n << ": " << statistic;
    EXPECT_TRUE(statistic >= freedom - 5 * std::sqrt(2 * freedom)) << n << ": " << statistic;
  }
}

/// Where 2^32 is far from a multiple of n, taking the product without rejection favours some
/// values: with n = 3 * 2^30 every third value would come twice as often as the others.
TEST(RandomStream, BelowRejectsTheBiasedPart) {
  const std::uint32_t n = 3u << 30;
  RandomStream stream(9, Purpose::test_values, 0, 0);
  std::vector<std::int64_t> counts(3);
  const int draws = 60000;
  for (int i = 0; i < draws; ++i)
    ++counts[stream.below(n) % 3];
  EXPECT_TRUE(chi_square(counts, draws) <= 2 + 5 * 2.0) << chi_square(counts, draws);
}

TEST(RandomStream, BelowOneIsZero) {
  RandomStream stream(1, Purpose::test_values, 0, 0);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(stream.below(1), 0u);
}

TEST(RandomStream, UniformLiesInsideAndHasItsMoments) {
  RandomStream stream(4, Purpose::test_values, 0, 0);
  const int n = 100000;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double x = stream.uniform();
    ASSERT_TRUE(x > 0 && x < 1) << x;
    sum += x;
    squares += x * x;
  }
  // Five standard errors: 1 / sqrt(12 n), and sqrt(4 / 45 / n) for the squares.
  EXPECT_TRUE(std::abs(sum / n - 0.5) <= 5 / std::sqrt(12.0 * n));
  EXPECT_TRUE(std::abs(squares / n - 1.0 / 3) <= 5 * std::sqrt(4 / 45.0 / n));
}

}  // namespace
}  // namespace recallbench
