#include <gtest/gtest.h>

#include <cmath>
#include <unordered_map>

#include "kernels/base/philox.h"
#include "tests/tasks/support.h"

namespace recallbench::testing {
namespace {

constexpr double kReject = 1e-6;
constexpr std::int64_t kDraws = 20000;

double four_sigma(double rate, double draws) {
  return 4 * std::sqrt(rate * (1 - rate) / draws);
}

std::vector<double> uniform_cells(std::size_t cells, double draws) {
  return std::vector<double>(cells, draws / static_cast<double>(cells));
}

/// V, L, n: the first draws keys by rejection, the second by a shuffle and uses every slot.
class MqarLaw
    : public ::testing::TestWithParam<std::tuple<std::int64_t, std::int64_t, std::int64_t>> {
 protected:
  void SetUp() override {
    std::tie(vocab_, length_, pairs_) = GetParam();
    task_ = make_task("mqar", mqar_values(vocab_, length_, pairs_));
    data_ = std::make_unique<Examples>(*task_, 2024, 0, kDraws);
    first_value_ = static_cast<std::int32_t>(vocab_ / 2);
  }
  std::int32_t input(std::int64_t e, std::int64_t t) const {
    return data_->input(e)[static_cast<std::size_t>(t)];
  }
  /// The slot in which key j is asked.
  std::int64_t slot(std::int64_t e, std::int64_t j) const {
    for (std::int64_t t = 2 * pairs_; t < length_; t += 2)
      if (data_->label(e)[static_cast<std::size_t>(t)] != kIgnoreLabel &&
          input(e, t) == input(e, 2 * j))
        return t / 2 - pairs_;
    return -1;
  }

  std::int64_t vocab_ = 0, length_ = 0, pairs_ = 0;
  std::int32_t first_value_ = 0;
  std::unique_ptr<Task> task_;
  std::unique_ptr<Examples> data_;
};

INSTANTIATE_TEST_SUITE_P(Settings, MqarLaw,
                         ::testing::Values(std::tuple{256, 64, 4}, std::tuple{17, 16, 4}));

TEST_P(MqarLaw, KeysAndValuesAreUniformAtEachPlace) {
  for (const std::int64_t j : {std::int64_t{0}, pairs_ - 1}) {
    std::vector<double> keys(static_cast<std::size_t>(first_value_ - 1), 0);
    std::vector<double> values(static_cast<std::size_t>(vocab_ - first_value_), 0);
    for (std::int64_t e = 0; e < kDraws; ++e) {
      ++keys[static_cast<std::size_t>(input(e, 2 * j) - 1)];
      ++values[static_cast<std::size_t>(input(e, 2 * j + 1) - first_value_)];
    }
    EXPECT_GT(chi_square_p(keys, uniform_cells(keys.size(), kDraws)), kReject);
    EXPECT_GT(chi_square_p(values, uniform_cells(values.size(), kDraws)), kReject);
  }
}

TEST_P(MqarLaw, FirstValueIsIndependentOfFirstKey) {
  constexpr std::int64_t kBins = 7;
  const std::int64_t num_keys = first_value_ - 1, num_values = vocab_ - first_value_;
  std::vector<double> counts(kBins * kBins, 0), expected(counts);
  const auto cell = [&](std::int64_t key, std::int64_t value) {
    return static_cast<std::size_t>(key * kBins / num_keys * kBins + value * kBins / num_values);
  };
  for (std::int64_t k = 0; k < num_keys; ++k)
    for (std::int64_t v = 0; v < num_values; ++v)
      expected[cell(k, v)] += double(kDraws) / static_cast<double>(num_keys * num_values);
  for (std::int64_t e = 0; e < kDraws; ++e)
    ++counts[cell(input(e, 0) - 1, input(e, 1) - first_value_)];
  EXPECT_GT(chi_square_p(counts, expected), kReject);
}

TEST_P(MqarLaw, FirstKeyIsAskedByThePowerLaw) {
  const std::int64_t slots = length_ / 2 - pairs_;
  std::vector<double> counts(static_cast<std::size_t>(slots), 0), expected;
  double sum = 0;
  for (std::int64_t i = 1; i <= slots; ++i)
    sum += std::pow(double(i), 0.01 - 1);
  for (std::int64_t i = 1; i <= slots; ++i)
    expected.push_back(kDraws * std::pow(double(i), 0.01 - 1) / sum);
  for (std::int64_t e = 0; e < kDraws; ++e) {
    const std::int64_t g = slot(e, 0);
    ASSERT_GE(g, 0);
    ++counts[static_cast<std::size_t>(g)];
  }
  EXPECT_GT(chi_square_p(counts, expected), kReject);
}

TEST_P(MqarLaw, SecondKeyIsAskedByTheLawOfWhatIsLeft) {
  const std::int64_t slots = length_ / 2 - pairs_;
  std::vector<double> weights, expected(static_cast<std::size_t>(slots), 0), counts(expected);
  double sum = 0;
  for (std::int64_t i = 1; i <= slots; ++i)
    sum += std::pow(double(i), 0.01 - 1);
  for (std::int64_t i = 1; i <= slots; ++i)
    weights.push_back(std::pow(double(i), 0.01 - 1) / sum);
  for (std::size_t first = 0; first < weights.size(); ++first)
    for (std::size_t second = 0; second < weights.size(); ++second)
      if (first != second)
        expected[second] += kDraws * weights[first] * weights[second] / (1 - weights[first]);
  for (std::int64_t e = 0; e < kDraws; ++e)
    ++counts[static_cast<std::size_t>(slot(e, 1))];
  EXPECT_GT(chi_square_p(counts, expected), kReject);
}

TEST_P(MqarLaw, FillersAreUniformOverTheVocabulary) {
  std::vector<double> counts(static_cast<std::size_t>(vocab_), 0);
  double draws = 0;
  for (std::int64_t e = 0; e < kDraws; ++e) {
    for (std::int64_t t = 2 * pairs_ + 1; t < length_; t += 2) {
      ++counts[static_cast<std::size_t>(input(e, t))];
      ++draws;
    }
  }
  EXPECT_GT(chi_square_p(counts, uniform_cells(counts.size(), draws)), kReject);
}

TEST_P(MqarLaw, NoCollisionFillersAreUniformOverTheRest) {
  const auto task = make_task("mqar", mqar_values(vocab_, length_, pairs_, 0.01, "no_collision"));
  const Examples data(*task, 5, 0, kDraws);
  // By symmetry every key id is left out equally often: zero and values keep 1 / (V - n) each.
  const double share = 1 / static_cast<double>(vocab_ - pairs_);
  const double num_keys = double(first_value_ - 1);
  std::vector<double> counts(static_cast<std::size_t>(vocab_), 0), expected(counts);
  double draws = 0;
  for (std::int64_t e = 0; e < kDraws; ++e) {
    for (std::int64_t t = 2 * pairs_ + 1; t < length_; t += 2) {
      ++counts[static_cast<std::size_t>(data.input(e)[static_cast<std::size_t>(t)])];
      ++draws;
    }
  }
  for (std::size_t v = 0; v < expected.size(); ++v) {
    const bool is_key = v >= 1 && v < static_cast<std::size_t>(first_value_);
    expected[v] = draws * share * (is_key ? (num_keys - double(pairs_)) / num_keys : 1);
  }
  // Which keys an example has moves all its fillers together, so only the share of keys as a
  // group and the tokens outside it are counted.
  std::vector<double> outside{0}, outside_expected{0};
  for (std::size_t v = 0; v < counts.size(); ++v) {
    const bool is_key = v >= 1 && v < static_cast<std::size_t>(first_value_);
    if (is_key) {
      outside[0] += counts[v];
      outside_expected[0] += expected[v];
    } else {
      outside.push_back(counts[v]);
      outside_expected.push_back(expected[v]);
    }
  }
  EXPECT_GT(chi_square_p(outside, outside_expected), kReject);
}

TEST(MqarChance, AGuessAmongTheValuesScoresChance) {
  const auto task = make_task("mqar", mqar_values(64, 32, 4));
  const Examples data(*task, 3, 0, kDraws);
  RandomStream random(1, Purpose::test_values, 0, 0);
  double right = 0, labels = 0;
  for (const std::int32_t label : data.labels) {
    if (label == kIgnoreLabel) continue;
    ++labels;
    right += static_cast<std::int32_t>(32 + random.below(32)) == label ? 1 : 0;
  }
  ASSERT_EQ(labels, 4.0 * kDraws);
  const double error = std::abs(right / labels - task->chance());
  if (!(error <= four_sigma(task->chance(), labels))) FAIL() << right / labels;
}

/// Published rates for V = 8192: last-occurrence accuracy, and P(slot 0 for key 0).
struct Rates {
  std::int64_t length, pairs;
  double last_occurrence, first_slot;
};

class MqarRates : public ::testing::TestWithParam<Rates> {};

TEST_P(MqarRates, EqualThePublishedOnes) {
  const Rates& rates = GetParam();
  const auto task = make_task("mqar", mqar_values(8192, rates.length, rates.pairs));
  const std::int64_t count = std::max<std::int64_t>(400, 40000 / rates.pairs);
  const Examples data(*task, 17, 0, count);
  double right = 0, labels = 0, first = 0;
  for (std::int64_t e = 0; e < count; ++e) {
    const auto in = data.input(e), label = data.label(e);
    std::unordered_map<std::int32_t, std::int32_t> after;
    for (std::size_t t = 0; t < in.size(); ++t) {
      if (label[t] != kIgnoreLabel) {
        const auto found = after.find(in[t]);
        right += found != after.end() && found->second == label[t] ? 1 : 0;
        ++labels;
      }
      if (t + 1 < in.size()) after[in[t]] = in[t + 1];
    }
    const auto asked = static_cast<std::size_t>(2 * rates.pairs);
    first += label[asked] != kIgnoreLabel && in[asked] == in[0] ? 1 : 0;
  }
  constexpr double kRounding = 0.0005, kFineRounding = 0.00005;
  const double accuracy = right / labels, share = first / double(count);
  const double error = std::abs(accuracy - rates.last_occurrence);
  if (!(error <= four_sigma(rates.last_occurrence, labels) + kRounding)) FAIL() << accuracy;
  const double first_error = std::abs(share - rates.first_slot);
  if (!(first_error <= four_sigma(rates.first_slot, double(count)) + kFineRounding))
    FAIL() << share;
}

INSTANTIATE_TEST_SUITE_P(Published, MqarRates,
                         ::testing::Values(Rates{64, 4, .998, .2511}, Rates{64, 16, .999, .2924},
                                           Rates{128, 8, .997, .2131}, Rates{128, 32, .998, .2428},
                                           Rates{256, 16, .994, .1847}, Rates{256, 64, .996, .2070},
                                           Rates{512, 64, .989, .1673},
                                           Rates{512, 128, .992, .1801},
                                           Rates{1024, 256, .984, .1592}));

}  // namespace
}  // namespace recallbench::testing
