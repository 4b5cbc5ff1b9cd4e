#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tasks/sampling/distinct.h"
#include "tasks/sampling/mt19937_draws.h"
#include "tasks/sampling/power_law.h"
#include "tasks/sampling/successive.h"
#include "tasks/sampling/word_stream.h"
#include "tests/tasks/support.h"

namespace recallbench::testing {
namespace {

constexpr double kReject = 1e-6;

TEST(WordStream, HasTheWordsOfRandomStream) {
  WordStream words(0x123456789abcdefu, Purpose::task_data, 7, 9);
  RandomStream plain(0x123456789abcdefu, Purpose::task_data, 7, 9);
  for (int i = 0; i < 1000; ++i)
    ASSERT_EQ(words.next(), plain.next()) << i;
  for (int i = 0; i < 100; ++i)
    ASSERT_EQ(words.next64(), plain.next64()) << i;
  for (std::uint32_t n : {1u, 2u, 3u, 8192u, 0x80000001u})
    for (int i = 0; i < 200; ++i)
      ASSERT_EQ(words.below(n), plain.below(n)) << n << " " << i;
}

TEST(WordStream, FillingIsDrawingOneByOne) {
  for (std::uint32_t n : {1u, 20u, 8192u, 0x7fffffffu, 0x60000000u}) {
    for (std::int64_t count : {0, 1, 31, 32, 33, 500}) {
      WordStream filled(5, Purpose::task_data, 1, 0), single(5, Purpose::task_data, 1, 0);
      filled.next();
      single.next();
      std::vector<std::int32_t> out(static_cast<std::size_t>(count));
      filled.fill_below(n, out.data(), count);
      for (const std::int32_t x : out)
        ASSERT_EQ(x, static_cast<std::int32_t>(single.below(n)));
      ASSERT_EQ(filled.next(), single.next()) << n << " " << count;
    }
  }
}

TEST(WordStream, Below64IsUniformAndInRange) {
  WordStream words(11, Purpose::test_values, 0, 0);
  const std::uint64_t n = (std::uint64_t{3} << 62) + 5;  // a quarter of all words is rejected
  std::vector<double> counts(10, 0);
  for (int i = 0; i < 50000; ++i) {
    const std::uint64_t x = words.below64(n);
    ASSERT_LT(x, n);
    ++counts[static_cast<std::size_t>(x / (n / 10 + 1))];
  }
  EXPECT_GT(chi_square_p(counts, std::vector<double>(10, 5000)), kReject);
}

TEST(DistinctSampler, GivesEveryOrderedChoiceEquallyOften) {
  // k = 2 of 5 redraws, k = 3 of 4 shuffles.
  for (const auto& [pool, k, choices] : {std::tuple{5u, 2u, 20u}, {4u, 3u, 24u}, {4u, 4u, 24u}}) {
    DistinctSampler sampler(pool, k);
    WordStream words(3, Purpose::test_values, pool, k);
    std::map<std::vector<std::uint32_t>, double> seen;
    const int draws = 48000;
    for (int i = 0; i < draws; ++i) {
      const auto drawn = sampler.draw(words);
      for (std::uint32_t x = 0; x < pool; ++x) {
        const bool is_in = std::find(drawn.begin(), drawn.end(), x) != drawn.end();
        ASSERT_EQ(sampler.contains(x), is_in);
      }
      ++seen[{drawn.begin(), drawn.end()}];
    }
    ASSERT_EQ(seen.size(), choices);
    std::vector<double> counts;
    for (const auto& [choice, count] : seen) {
      ASSERT_EQ(std::set(choice.begin(), choice.end()).size(), k);
      counts.push_back(count);
    }
    EXPECT_GT(chi_square_p(counts, std::vector<double>(choices, double(draws) / choices)), kReject);
  }
}

TEST(DistinctSampler, RefusesMoreThanThePool) {
  EXPECT_THROW(DistinctSampler(4, 5), Error);
}

TEST(PowerLaw, EqualsLibm) {
  double worst = 0;
  for (double a : {0.001, 0.01, 0.3, 0.5, 0.99, 1.0, 1.5, 2.0, 4.0}) {
    for (std::int64_t size : {1, 2, 3, 4, 28, 64, 256, 1000, 4096}) {
      const auto weights = power_law_weights(size, a);
      ASSERT_EQ(weights.size(), static_cast<std::size_t>(size));
      std::vector<long double> law;
      long double sum = 0;
      for (std::int64_t i = 1; i <= size; ++i) {
        law.push_back(std::pow(static_cast<long double>(i), static_cast<long double>(a - 1.0)));
        sum += law.back();
      }
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const double expected = static_cast<double>(law[i] / sum);
        if (expected < 0x1p-24) continue;  // fewer than 36 of the 60 bits are left
        const double got = std::ldexp(static_cast<double>(weights[i]), -60);
        const double error = std::abs(got - expected) / expected;
        worst = std::max(worst, error);
        if (!(error <= 1e-10))
          FAIL() << "a " << a << " size " << size << " i " << i << ": " << error;
        if (expected > 0x1p-12 && !(error <= 1e-12))
          FAIL() << "a " << a << " size " << size << " i " << i << ": " << error;
      }
    }
  }
  RecordProperty("worst_relative_error", std::to_string(worst));
}

TEST(PowerLaw, EveryItemCanBeDrawn) {
  for (double a : {1e-6, 0.01, 1.0, 16.0}) {
    const auto weights = power_law_weights(4096, a);
    std::uint64_t sum = 0;
    for (const std::uint64_t w : weights) {
      ASSERT_GE(w, 1u);
      sum += w;
    }
    EXPECT_LE(sum, (std::uint64_t{1} << 60) + 4096);
    EXPECT_GE(sum, (std::uint64_t{1} << 60) - 4096);
  }
}

TEST(PowerLaw, HasTheseBitsOnEveryMachine) {
  const auto low = power_law_weights(28, 0.01), high = power_law_weights(5, 2.5);
  EXPECT_EQ(low.front(), 289447160026001867u);
  EXPECT_EQ(low.back(), 10687665224881258u);
  EXPECT_EQ(high.front(), 40876610453215373u);
  EXPECT_EQ(high.back(), 457014398315840307u);
}

TEST(PowerLaw, RefusesWhatItCannotHold) {
  EXPECT_THROW(power_law_weights(0, 0.5), Error);
  EXPECT_THROW(power_law_weights((1 << 19) + 1, 0.5), Error);
  EXPECT_THROW(power_law_weights(4, 0.0), Error);
  EXPECT_THROW(power_law_weights(4, std::nan("")), Error);
}

/// Draws as the definition says: pick by weight, take out, repeat; in double.
std::vector<std::uint32_t> plain_successive(RandomStream& random, std::vector<double> weights,
                                            std::size_t k) {
  std::vector<std::uint32_t> drawn;
  while (drawn.size() < k) {
    double sum = 0;
    for (double w : weights)
      sum += w;
    double target = random.uniform() * sum;
    std::uint32_t item = 0;
    while (target >= weights[item])
      target -= weights[item++];
    drawn.push_back(item);
    weights[item] = 0;
  }
  return drawn;
}

/// Probability of drawing exactly this sequence under the Plackett-Luce law.
double plackett_luce(const std::vector<double>& weights, const std::vector<std::uint32_t>& drawn) {
  double left = 0, probability = 1;
  for (double w : weights)
    left += w;
  for (const std::uint32_t item : drawn) {
    probability *= weights[item] / left;
    left -= weights[item];
  }
  return probability;
}

class SuccessiveLaw : public ::testing::TestWithParam<std::pair<std::int64_t, std::uint32_t>> {};

TEST_P(SuccessiveLaw, OrderEqualsPlackettLuceAndAPlainSampler) {
  const auto [size, k] = GetParam();
  const auto weights = power_law_weights(size, 0.3);
  const std::vector<double> law(weights.begin(), weights.end());
  SuccessiveSampler sampler(weights, k);
  WordStream words(21, Purpose::test_values, 1, k);
  RandomStream random(22, Purpose::test_values, 2, k);
  std::map<std::vector<std::uint32_t>, double> seen, plain;
  const double draws = 40000;
  for (int i = 0; i < draws; ++i) {
    const auto drawn = sampler.draw(words);
    ++seen[{drawn.begin(), drawn.end()}];
    ++plain[plain_successive(random, law, k)];
  }
  std::vector<double> counts, plain_counts, expected;
  double total = 0;
  for (const auto& [order, count] : plain) {
    counts.push_back(seen[order]);
    plain_counts.push_back(count);
    expected.push_back(draws * plackett_luce(law, order));
    total += expected.back();
  }
  ASSERT_EQ(seen.size(), plain.size());
  EXPECT_NEAR(total, draws, 1e-6 * draws);  // every possible order came up
  EXPECT_GT(chi_square_p(counts, expected), kReject);
  EXPECT_GT(chi_square_p(plain_counts, expected), kReject);
}

INSTANTIATE_TEST_SUITE_P(Sizes, SuccessiveLaw,
                         ::testing::Values(std::pair{4, 4u}, std::pair{5, 3u}, std::pair{7, 2u},
                                           std::pair{8, 1u}));

TEST(SuccessiveSampler, DrawsEverythingWithoutRepeats) {
  const std::uint32_t size = 1000;
  SuccessiveSampler sampler(power_law_weights(size, 16.0), size);
  WordStream words(4, Purpose::test_values, 0, 0);
  const auto drawn = sampler.draw(words);
  EXPECT_EQ(std::set(drawn.begin(), drawn.end()).size(), size);
  EXPECT_LT(*std::max_element(drawn.begin(), drawn.end()), size);
  SuccessiveSampler lone(power_law_weights(1, 0.01), 1);
  EXPECT_EQ(lone.draw(words)[0], 0u);
  EXPECT_THROW(SuccessiveSampler({1, 1}, 3), Error);
}

/// The definition, as NumPy's legacy generator has it.
std::uint32_t below_or_equal(std::mt19937& engine, std::uint32_t max) {
  if (max == 0) return 0;
  std::uint32_t mask = 1;
  while (mask < max)
    mask = 2 * mask + 1;
  std::uint32_t word = static_cast<std::uint32_t>(engine()) & mask;
  while (word > max)
    word = static_cast<std::uint32_t>(engine()) & mask;
  return word;
}

TEST(Mt19937Draws, PermutationsAreThoseOfTheDefinition) {
  for (const std::size_t n : {0u, 1u, 2u, 3u, 4u, 5u, 63u, 64u, 65u, 255u, 257u, 4095u}) {
    std::mt19937 engine(static_cast<std::uint32_t>(n)), plain(engine);
    std::vector<std::uint32_t> found(n), expected(n);
    for (int repeat = 0; repeat < 20; ++repeat) {
      permutation(engine, found);
      for (std::size_t i = 0; i < n; ++i)
        expected[i] = static_cast<std::uint32_t>(i);
      for (std::size_t i = n; i-- > 1;)
        std::swap(expected[i], expected[below_or_equal(plain, static_cast<std::uint32_t>(i))]);
      ASSERT_EQ(found, expected) << n;
      ASSERT_EQ(engine, plain) << n;  // as many words were taken
    }
  }
}

TEST(Mt19937Draws, UniformNumbersAreThoseOfTheDefinition) {
  std::mt19937 engine(0), words(0);
  const double high = static_cast<double>(words() >> 5), low = static_cast<double>(words() >> 6);
  EXPECT_EQ(uniform53(engine), (high * 67108864.0 + low) / 9007199254740992.0);
}

}  // namespace
}  // namespace recallbench::testing
