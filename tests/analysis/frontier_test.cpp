#include "analysis/frontier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace recallbench {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The definition, in so many words: nobody has no more state and no less accuracy, and one of the
/// two better.
std::vector<bool> by_definition(const std::vector<Candidate>& all) {
  const auto counts = [](const Candidate& c) {
    return std::isfinite(c.state) && c.state >= 0 && std::isfinite(c.accuracy);
  };
  std::vector<bool> kept;
  for (const Candidate& c : all) {
    bool beaten = !counts(c);
    for (const Candidate& other : all)
      if (counts(other) && other.state <= c.state && other.accuracy >= c.accuracy &&
          !(other.state == c.state && other.accuracy == c.accuracy))
        beaten = true;
    kept.push_back(!beaten);
  }
  return kept;
}

/// `grid` values an axis: few make many ties, 0 none. One in eight is not comparable.
std::vector<Candidate> random_candidates(std::mt19937& engine, int count, int grid) {
  const auto draw = [&] {
    return grid > 0 ? static_cast<double>(engine() % static_cast<unsigned>(grid)) / grid
                    : engine() / 4294967296.0;
  };
  const double odd[] = {kNan, kInfinity, -kInfinity, -1};
  std::vector<Candidate> all;
  for (int i = 0; i < count; ++i) {
    Candidate c{draw(), draw()};
    if (engine() % 16 == 0) c.state = odd[engine() % 4];
    if (engine() % 16 == 0) c.accuracy = odd[engine() % 3];
    all.push_back(c);
  }
  return all;
}

TEST(Frontier, EqualsItsDefinitionOnRandomSets) {
  std::mt19937 engine(11);
  for (int round = 0; round < 3000; ++round) {
    const int grids[] = {0, 3, 8};
    const auto all = random_candidates(engine, static_cast<int>(engine() % 25), grids[round % 3]);
    EXPECT_EQ(pareto_frontier(all), by_definition(all)) << "round " << round;
  }
}

TEST(Frontier, DoesNotDependOnTheOrder) {
  std::mt19937 engine(12);
  for (int round = 0; round < 500; ++round) {
    const auto all = random_candidates(engine, 20, 6);
    std::vector<std::size_t> order(all.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::shuffle(order.begin(), order.end(), engine);
    std::vector<Candidate> shuffled;
    for (const std::size_t i : order)
      shuffled.push_back(all[i]);
    const auto kept = pareto_frontier(all), kept_shuffled = pareto_frontier(shuffled);
    for (std::size_t i = 0; i < order.size(); ++i)
      EXPECT_EQ(kept_shuffled[i], kept[order[i]]);
  }
}

/// Whether `a` makes `b` needless, both with a state and an accuracy.
bool dominates(const Candidate& a, const Candidate& b) {
  const bool no_worse = a.state <= b.state && a.accuracy >= b.accuracy;
  return no_worse && (a.state < b.state || a.accuracy > b.accuracy);
}

TEST(Frontier, WhatIsLeftOutIsDominatedByWhatIsKept) {
  std::mt19937 engine(13);
  for (int round = 0; round < 500; ++round) {
    const auto all = random_candidates(engine, 30, 10);
    const auto kept = pareto_frontier(all);
    for (std::size_t i = 0; i < all.size(); ++i) {
      bool dominated = false;
      for (std::size_t j = 0; j < all.size(); ++j)
        dominated = dominated || (kept[j] && dominates(all[j], all[i]));
      if (kept[i]) {
        EXPECT_FALSE(dominated);
      }
      const bool comparable =
          std::isfinite(all[i].state) && all[i].state >= 0 && std::isfinite(all[i].accuracy);
      if (!kept[i] && comparable) {
        EXPECT_TRUE(dominated);
      }
    }
  }
}

TEST(Frontier, TiesAreDefined) {
  using Set = std::vector<Candidate>;
  using Kept = std::vector<bool>;
  EXPECT_EQ(pareto_frontier(Set{}), Kept{});
  EXPECT_EQ(pareto_frontier(Set{{1, 0}}), (Kept{true}));
  EXPECT_EQ(pareto_frontier(Set{{4, 0.5}, {4, 0.5}}), (Kept{true, true}));
  EXPECT_EQ(pareto_frontier(Set{{4, 0.5}, {4, 0.6}}), (Kept{false, true}));
  EXPECT_EQ(pareto_frontier(Set{{4, 0.5}, {8, 0.5}}), (Kept{true, false}));
  EXPECT_EQ(pareto_frontier(Set{{0, 0.1}, {8, 0.9}, {4, 0.05}}), (Kept{true, true, false}));
}

TEST(Frontier, NanAndInfinityAreNeverOnIt) {
  const std::vector<Candidate> odd = {{kNan, 1},      {1, kNan},  {kInfinity, 1},
                                      {0, kInfinity}, {-1, 0.99}, {2, 0.5}};
  EXPECT_EQ(pareto_frontier(odd), (std::vector<bool>{false, false, false, false, false, true}));
}

}  // namespace
}  // namespace recallbench
