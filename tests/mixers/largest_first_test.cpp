// LargestFirst: the k largest, and of equal shares those that GCC's standard library chooses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "mixers/selective_attention/largest_first.h"

namespace recallbench::testing {
namespace {

using Tokens = std::vector<std::int32_t>;

Tokens counted(std::size_t n) {
  Tokens tokens(n);
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

/// The first k of `order`, sorted.
Tokens first_of(Tokens order, Index k) {
  order.resize(static_cast<std::size_t>(k));
  std::sort(order.begin(), order.end());
  return order;
}

template <class T>
Tokens kept(const std::vector<T>& shares, Index k) {
  Tokens order = counted(shares.size());
  LargestFirst<T>(shares.data(), 1, order.data()).select(static_cast<Index>(shares.size()), k);
  EXPECT_EQ(first_of(order, static_cast<Index>(shares.size())), counted(shares.size()));
  return first_of(order, k);
}

/// n shares of i % levels.
std::vector<float> cycle(Index n, Index levels) {
  std::vector<float> shares;
  for (Index i = 0; i < n; ++i)
    shares.push_back(static_cast<float>(i % levels));
  return shares;
}

TEST(LargestFirst, ChoosesAmongEqualShares) {
  EXPECT_EQ(kept(cycle(10, 1), 4), (Tokens{5, 6, 7, 8}));
  EXPECT_EQ(kept(cycle(8, 2), 3), (Tokens{1, 5, 7}));
  EXPECT_EQ(kept(cycle(33, 1), 6), (Tokens{18, 20, 21, 22, 23, 24}));
  EXPECT_EQ(kept(cycle(33, 3), 6), (Tokens{8, 11, 14, 20, 23, 26}));
  EXPECT_EQ(kept(cycle(200, 1), 3), (Tokens{0, 1, 2}));
  EXPECT_EQ(kept(cycle(200, 4), 3), (Tokens{3, 7, 11}));
}

TEST(LargestFirst, ReadsSharesByTheirStride) {
  const std::vector<double> shares = {1, 9, 3, 9, 2, 9, 4};
  Tokens order = counted(4);
  LargestFirst<double>(shares.data(), 2, order.data()).select(4, 2);
  EXPECT_EQ(first_of(order, 2), (Tokens{1, 3}));
}

#ifdef __GLIBCXX__  // Another library may choose others.

template <class Larger>
Tokens kept_by_library(Index n, Index k, const Larger& larger) {
  Tokens order = counted(static_cast<std::size_t>(n));
  const auto begin = order.begin();
  if (64 * k <= n)
    std::partial_sort(begin, begin + k, order.end(), larger);
  else
    std::nth_element(begin, begin + k - 1, order.end(), larger);
  return first_of(order, k);
}

/// Also counts the comparisons that the library made.
template <class T>
Index expect_choice_of_the_library(const std::vector<T>& shares, Index k) {
  Index comparisons = 0;
  const auto larger = [&](std::int32_t a, std::int32_t b) {
    ++comparisons;
    return shares[static_cast<std::size_t>(a)] > shares[static_cast<std::size_t>(b)];
  };
  const Index n = static_cast<Index>(shares.size());
  EXPECT_EQ(kept(shares, k), kept_by_library(n, k, larger)) << k << " of " << n;
  return comparisons;
}

/// Equal shares all, many, few or none; in any order, or rising, falling, rising and falling.
std::vector<float> random_shares(std::mt19937& random, Index n) {
  const std::uint32_t levels[] = {1, 2, 3, 5, 17, static_cast<std::uint32_t>(n), 1u << 24};
  const std::uint32_t among = levels[random() % 7];
  std::vector<float> shares;
  for (Index i = 0; i < n; ++i)
    shares.push_back(static_cast<float>(random() % among));
  const std::uint32_t shape = random() % 6;
  const auto middle = shares.begin() + (shape == 0 ? n : shape == 1 ? 0 : n / 2);
  if (shape > 2) return shares;
  std::sort(shares.begin(), middle);
  std::sort(middle, shares.end(), std::greater<>());
  return shares;
}

TEST(LargestFirst, ChoosesAsTheLibraryDoes) {
  std::mt19937 random(1);
  for (Index n = 1; n <= 1000; ++n)
    for (Index k = 1; k <= n; k += n <= 128 ? 1 : 1 + static_cast<Index>(random() % 64))
      expect_choice_of_the_library(random_shares(random, n), k);
  for (const Index n : {4096, 65536})
    for (const Index k : {Index{1}, n / 64, n / 64 + 1, n / 2, n})
      expect_choice_of_the_library(random_shares(random, n), k);
}

/// Shares, decided while std::nth_element compares them, of which a partition parts only few from
/// the others (McIlroy, A killer adversary for quicksort, 1999).
std::vector<double> worst_shares(Index n, Index k) {
  const double open = -static_cast<double>(n);
  std::vector<double> shares(static_cast<std::size_t>(n), open);
  double next = 0;
  std::int32_t pivot = 0;
  kept_by_library(n, k, [&](std::int32_t a, std::int32_t b) {
    double &x = shares[static_cast<std::size_t>(a)], &y = shares[static_cast<std::size_t>(b)];
    if (x == open && y == open) (a == pivot ? x : y) = next--;
    if (x == open) pivot = a;
    if (y == open) pivot = b;
    return x > y;
  });
  return shares;
}

TEST(LargestFirst, ChoosesAsTheLibraryDoesWhereItGivesUpPartitions) {
  for (const Index n : {200, 333, 1000})
    for (const Index k : {n / 3, n / 2, n / 3 * 2}) {
      std::vector<double> shares = worst_shares(n, k);
      for (double& s : shares)  // equal ones from the k-th but 20 on
        s = std::max(s, static_cast<double>(20 - k));
      const double comparisons = static_cast<double>(expect_choice_of_the_library(shares, k));
      // As many partitions as there may be, of almost all shares.
      EXPECT_GT(comparisons, 0.75 * static_cast<double>(n) * 2 * std::floor(std::log2(n)));
    }
}

#endif

}  // namespace
}  // namespace recallbench::testing
