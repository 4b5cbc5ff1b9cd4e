#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tasks/sampling/power_law.h"
#include "tasks/segment.h"
#include "tests/tasks/support.h"

namespace recallbench::testing {
namespace {

nlohmann::json read_golden(const std::string& name) {
  std::ifstream file(std::string(RECALLBENCH_SOURCE_DIR) + "/tests/goldens/tasks/" + name);
  if (!file) throw std::runtime_error("cannot open golden " + name);
  return nlohmann::json::parse(file);
}

Values case_values(const nlohmann::json& params) {
  Values values;
  for (const char* key : {"vocab_size", "input_seq_len", "num_kv_pairs"})
    values[key] = params.at(key).get<std::int64_t>();
  values["power_a"] = params.at("power_a").get<double>();
  values["random_non_queries"] = params.at("random_non_queries").get<bool>();
  return values;
}

/// The labels of a case as [N, L].
std::vector<std::int32_t> dense_labels(const nlohmann::json& labels, std::int64_t length) {
  std::vector<std::int32_t> dense(labels.size() * static_cast<std::size_t>(length), kIgnoreLabel);
  for (std::size_t e = 0; e < labels.size(); ++e)
    for (const auto& pair : labels[e])
      dense[e * static_cast<std::size_t>(length) + pair[0].get<std::size_t>()] = pair[1];
  return dense;
}

std::vector<std::int32_t> dense_inputs(const nlohmann::json& inputs) {
  std::vector<std::int32_t> dense;
  for (const auto& row : inputs)
    for (const auto& token : row)
      dense.push_back(token);
  return dense;
}

TEST(MqarCompat, EqualsTheReferenceBitForBit) {
  const nlohmann::json golden = read_golden("mqar.json");
  ASSERT_EQ(golden.at("cases").size(), 12u);
  for (const auto& one : golden.at("cases")) {
    SCOPED_TRACE(one.at("params").dump());
    Options options("task 'mqar'", case_values(one.at("params")));
    const auto& filler_seed = one.at("filler_seed");
    std::mt19937 fillers(filler_seed.is_null() ? 0u : filler_seed.get<std::uint32_t>());
    const SegmentData data = builtin_tasks().find("mqar").generate_compat(
        options, one.at("seed").get<std::uint32_t>(), fillers, one.at("num_examples"), {});
    options.finish();
    EXPECT_EQ(data.inputs, dense_inputs(one.at("inputs")));
    EXPECT_EQ(data.labels, dense_labels(one.at("labels"), one.at("params").at("input_seq_len")));
  }
}

TEST(MqarCompat, SolverIsRightOnEveryReferenceExample) {
  const nlohmann::json golden = read_golden("mqar.json");
  std::int64_t checked = 0;
  for (const auto& one : golden.at("cases")) {
    const auto task = make_task("mqar", case_values(one.at("params")));
    const std::vector<std::int32_t> inputs = dense_inputs(one.at("inputs"));
    const auto length = static_cast<std::size_t>(task->shape().input_seq_len);
    for (std::size_t e = 0; e < one.at("labels").size(); ++e) {
      const auto answers = task->solve({inputs.data() + e * length, length});
      ASSERT_TRUE(answers.has_value());
      for (const auto& pair : one.at("labels")[e]) {
        ASSERT_EQ((*answers)[pair[0].get<std::size_t>()], pair[1].get<std::int32_t>());
        ++checked;
      }
    }
  }
  EXPECT_EQ(checked, 8 * 466);
}

TEST(MqarCompat, FillersGoOnFromSegmentToSegment) {
  Options options("task 'mqar'", mqar_values(256, 16, 2));
  const auto& entry = builtin_tasks().find("mqar");
  std::mt19937 once(5), twice(5);
  entry.generate_compat(options, 1, once, 3, {});
  EXPECT_EQ(entry.compat_filler_words(options, 3), 3 * 16);
  twice.discard(3 * 16);
  EXPECT_EQ(once, twice);
  options.set("filler", std::string("zero"));
  entry.generate_compat(options, 1, once, 3, {});
  EXPECT_EQ(entry.compat_filler_words(options, 3), 0);
  EXPECT_EQ(once, twice);
}

/// In every part of its work: keys, values, slots, fillers.
TEST(MqarCompat, EndsWhereItIsAskedTo) {
  Options options("task 'mqar'", mqar_values(4096, 256, 32));
  const auto& entry = builtin_tasks().find("mqar");
  const auto make = [&](int most) {
    std::mt19937 fillers(7);
    int asked = 0;
    entry.generate_compat(options, 1, fillers, 4000, [&] { return ++asked > most; });
    return asked;
  };
  const int all = make(1'000'000);
  EXPECT_GT(all, 40);  // 4000 x (2047 + 2048 + 96 + 32 + 256) numbers
  for (int most = 0; most < all; most += 5)
    EXPECT_THROW(make(most), Stopped) << most;
}

TEST(MqarCompat, FirstExamplesDependOnTheirNumber) {
  Options options("task 'mqar'", mqar_values(256, 16, 2, 0.01, "zero"));
  std::mt19937 fillers;
  const auto& entry = builtin_tasks().find("mqar");
  const SegmentData few = entry.generate_compat(options, 1, fillers, 2, {});
  const SegmentData many = entry.generate_compat(options, 1, fillers, 3, {});
  EXPECT_FALSE(std::equal(few.inputs.begin(), few.inputs.end(), many.inputs.begin()));
}

TEST(MqarCompat, RefusesWhatTheReferenceCannotDo) {
  std::mt19937 fillers;
  const auto message = [&](const Values& values, std::int64_t count) -> std::string {
    try {
      Options options("task 'mqar'", values);
      builtin_tasks().find("mqar").generate_compat(options, 1, fillers, count, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message(mqar_values(256, 64, 4, 0.01, "zero", 2), 1).find("num_passes must be 1"),
            std::string::npos);
  EXPECT_NE(message(mqar_values(256, 64, 4, 0.01, "no_collision"), 1).find("no_collision"),
            std::string::npos);
  EXPECT_NE(message(mqar_values(256, 64, 4), -1).find("num_examples"), std::string::npos);
  EXPECT_EQ(message(mqar_values(256, 64, 4), 0), "");
}

TEST(SegmentSeeds, EqualTheReference) {
  const nlohmann::json golden = read_golden("seeds_and_power_law.json");
  ASSERT_GE(golden.at("segment_seeds").size(), 10u);
  for (const auto& one : golden.at("segment_seeds")) {
    const CompatSeeds seeds =
        compat_segment_seeds(one.at("data_seed"), one.at("train").size(), one.at("test").size());
    EXPECT_EQ(seeds.train, one.at("train").get<std::vector<std::uint32_t>>());
    EXPECT_EQ(seeds.test, one.at("test").get<std::vector<std::uint32_t>>());
  }
}

TEST(SegmentSeeds, PowerLawEqualsTheReference) {
  const nlohmann::json golden = read_golden("seeds_and_power_law.json");
  ASSERT_GE(golden.at("power_law").size(), 3u);
  for (const auto& one : golden.at("power_law")) {
    const auto weights = power_law_weights(one.at("space"), one.at("power_a"));
    const auto near = [](std::uint64_t weight, double expected) {
      const double error = std::abs(std::ldexp(static_cast<double>(weight), -60) - expected);
      return error <= 1e-12 * expected;
    };
    for (std::size_t i = 0; i < one.at("p").size(); ++i)
      EXPECT_TRUE(near(weights[i], one.at("p")[i])) << one.at("space") << " " << i;
    EXPECT_TRUE(near(weights.back(), one.at("last"))) << one.at("space");
  }
}

}  // namespace
}  // namespace recallbench::testing
