#include "tasks/dataset.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>

#include "tasks/segment.h"
#include "tests/tasks/support.h"

namespace recallbench::testing {
namespace {

struct Batch {
  std::vector<std::int32_t> tokens, positions, targets;
  std::vector<float> weights;
  bool operator==(const Batch&) const = default;
};

Batch batch_of(const Dataset& data, std::int64_t first, std::int64_t count) {
  const auto cells = [&](std::int64_t columns) {
    return static_cast<std::size_t>(count * columns);
  };
  Batch batch;
  batch.tokens.resize(cells(data.shape().input_seq_len), -1);
  batch.positions.resize(cells(data.shape().labels_per_example), -1);
  batch.targets.resize(batch.positions.size(), -1);
  batch.weights.resize(batch.positions.size(), -1);
  data.copy_batch(first, count, batch.tokens.data(), batch.positions.data(), batch.targets.data(),
                  batch.weights.data());
  return batch;
}

/// 17-bit tokens take the wide form, 8192 the narrow one.
class DatasetOf : public ::testing::TestWithParam<std::int64_t> {};
INSTANTIATE_TEST_SUITE_P(Vocabularies, DatasetOf, ::testing::Values(8192, 65536, 65537, 1 << 20));

TEST_P(DatasetOf, HoldsWhatTheTaskGenerates) {
  const auto task = make_task("mqar", mqar_values(GetParam(), 64, 4));
  const Examples plain(*task, 3, 0, 50);
  const Dataset data(*task, 3, 50);
  const Batch batch = batch_of(data, 10, 40);
  EXPECT_TRUE(std::equal(batch.tokens.begin(), batch.tokens.end(), plain.inputs.begin() + 640));
  std::size_t i = 0;
  for (std::int64_t e = 10; e < 50; ++e) {
    for (std::int32_t t = 0; t < 64; ++t) {
      const std::int32_t label = plain.label(e)[static_cast<std::size_t>(t)];
      if (label == kIgnoreLabel) continue;
      ASSERT_EQ(batch.positions[i], t);
      ASSERT_EQ(batch.targets[i], label);
      ASSERT_EQ(batch.weights[i], 1.0f);
      ++i;
    }
  }
  EXPECT_EQ(i, 160u);
  EXPECT_EQ(data.num_labels(), 200);
  EXPECT_EQ(data.bytes(), 50 * (64 + 4) * (GetParam() <= 65536 ? 2 : 4) + 50 * 4 * 2 + 50 * 4);
}

TEST(Dataset, IsTheSameForAnyNumberOfThreads) {
  const auto task = make_task("mqar", mqar_values(8192, 64, 8));
  const Dataset alone(*task, 9, 5000, 1), many(*task, 9, 5000, 8);
  EXPECT_TRUE(batch_of(alone, 0, 5000) == batch_of(many, 0, 5000));
  const Dataset longer(*task, 9, 5001, 3);
  EXPECT_TRUE(batch_of(alone, 0, 5000) == batch_of(longer, 0, 5000));
}

TEST(Dataset, EndsWhereItIsAskedTo) {
  const auto task = make_task("mqar", mqar_values(8192, 64, 8));
  for (const int threads : {1, 3}) {
    std::atomic<int> asked = 0;
    EXPECT_THROW(Dataset(*task, 3, 20000, threads, [&] { return ++asked >= 5; }), Stopped);
    EXPECT_LE(asked, 4 + threads);
    asked = 0;
    const auto never = [&] { return ++asked < 0; };
    EXPECT_EQ(batch_of(Dataset(*task, 3, 20000, threads, never), 0, 20000),
              batch_of(Dataset(*task, 3, 20000), 0, 20000));
    EXPECT_EQ(asked, 19);
  }
}

TEST(Dataset, PadsExamplesWithFewerLabels) {
  const std::int32_t none = kIgnoreLabel;
  const SegmentData segment{{1, 2, 3, 4, 5, 6}, {none, 7, none, 8, none, 9}};
  const Dataset data({10, 3, 2}, segment);
  ASSERT_EQ(data.size(), 2);
  const Batch batch = batch_of(data, 0, 2);
  EXPECT_EQ(batch.tokens, segment.inputs);
  EXPECT_EQ(batch.positions, (std::vector<std::int32_t>{1, 0, 0, 2}));
  EXPECT_EQ(batch.targets, (std::vector<std::int32_t>{7, 0, 8, 9}));
  EXPECT_EQ(batch.weights, (std::vector<float>{1, 0, 1, 1}));
  EXPECT_EQ(data.num_labels(), 3);
}

TEST(Dataset, TakesNullForOutputsThatNobodyWants) {
  const Dataset data({10, 2, 1}, SegmentData{{1, 2}, {kIgnoreLabel, 3}});
  std::int32_t target = 0;
  data.copy_batch(0, 1, nullptr, nullptr, &target, nullptr);
  EXPECT_EQ(target, 3);
}

TEST(Dataset, HoldsCompatSegments) {
  Options options("task 'mqar'", mqar_values(256, 64, 4));
  std::mt19937 fillers(1);
  const SegmentData segment =
      builtin_tasks().find("mqar").generate_compat(options, 5, fillers, 20, {});
  const Dataset data(make_task("mqar", mqar_values(256, 64, 4))->shape(), segment);
  EXPECT_EQ(batch_of(data, 0, 20).tokens, segment.inputs);
  EXPECT_EQ(data.num_labels(), 80);
}

TEST(Dataset, RefusesBadBatchesAndBadSegments) {
  const std::int32_t none = kIgnoreLabel;
  const Dataset data({10, 2, 1}, SegmentData{{1, 2}, {none, 3}});
  EXPECT_THROW(data.copy_batch(0, 2, nullptr, nullptr, nullptr, nullptr), Error);
  EXPECT_THROW(data.copy_batch(-1, 1, nullptr, nullptr, nullptr, nullptr), Error);
  EXPECT_THROW(Dataset({10, 2, 1}, SegmentData{{1, 2}, {none, none}}), Error);  // no label
  EXPECT_THROW(Dataset({10, 2, 1}, SegmentData{{1, 2}, {3, 3}}), Error);        // too many
  EXPECT_THROW(Dataset({10, 2, 1}, SegmentData{{1, 2, 3}, {none, 3, none}}), Error);
  for (const std::int32_t outside : {-1, 10, 65536 + 1}) {  // neither a token nor kIgnoreLabel
    EXPECT_THROW(Dataset({10, 2, 1}, SegmentData{{1, 2}, {none, outside}}), Error) << outside;
    EXPECT_THROW(Dataset({10, 2, 1}, SegmentData{{1, outside}, {none, 3}}), Error) << outside;
  }
  const auto task = make_task("mqar", mqar_values(256, 64, 4));
  EXPECT_THROW(Dataset(*task, 1, -1), Error);
  EXPECT_EQ(Dataset(*task, 1, 0, 4).size(), 0);
}

/// Generates nothing but an error from example 3000 on.
class FailingTask final : public Task {
 public:
  TaskShape shape() const override { return {10, 64, 1}; }
  std::vector<Slice> slices() const override { return {}; }
  double chance() const override { return 0; }
  void generate(std::uint64_t, std::int64_t first, std::int64_t count, std::int32_t* inputs,
                std::int32_t* labels) const override {
    if (first + count > 3000) fail(ErrorKind::usage, "failing task", "stops here");
    std::fill_n(inputs, count * 64, 1);
    std::fill_n(labels, count * 64, kIgnoreLabel);
    for (std::int64_t e = 0; e < count; ++e)
      labels[e * 64] = 1;
  }
  std::optional<std::vector<std::int32_t>> solve(std::span<const std::int32_t>) const override {
    return std::nullopt;
  }
  std::optional<std::int64_t> available() const override { return 5000; }
};

TEST(Dataset, PassesOnErrorsOfItsThreads) {
  const FailingTask task;
  for (int threads : {1, 4})
    EXPECT_THROW(Dataset(task, 0, 4000, threads), Error);
  EXPECT_EQ(Dataset(task, 0, 1024, 2).size(), 1024);
}

TEST(Dataset, RefusesMoreThanIsAvailable) {
  try {
    const Dataset data(FailingTask{}, 0, 5001);
    FAIL() << "made " << data.size();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("5000 examples, num_examples asks for 5001"),
              std::string::npos);
  }
}

TEST(SegmentSeed, NeverRepeatsWithinARun) {
  std::set<std::uint64_t> seeds;
  for (std::uint64_t base : {0u, 1u, 2u, 123u})
    for (Split split : {Split::train, Split::valid, Split::test})
      for (std::uint32_t segment = 0; segment < 1000; ++segment)
        seeds.insert(segment_seed(base, split, segment));
  EXPECT_EQ(seeds.size(), 4u * 3u * 1000u);
}

TEST(SegmentSeed, HasTheseBitsOnEveryMachine) {
  EXPECT_EQ(segment_seed(0, Split::train, 0), 12035550249420947055u);
  EXPECT_EQ(segment_seed(123, Split::test, 6), 12848719135776320284u);
}

TEST(SegmentSeed, SplitsShareNoExample) {
  const auto task = make_task("mqar", mqar_values(8192, 64, 4));
  std::set<std::vector<std::int32_t>> contexts;
  for (Split split : {Split::train, Split::valid, Split::test}) {
    const Examples data(*task, segment_seed(1, split, 0), 0, 500);
    for (std::int64_t e = 0; e < 500; ++e)
      contexts.insert({data.input(e).begin(), data.input(e).begin() + 8});
  }
  EXPECT_EQ(contexts.size(), 1500u);
}

}  // namespace
}  // namespace recallbench::testing
