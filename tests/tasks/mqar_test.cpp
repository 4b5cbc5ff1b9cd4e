#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/tasks/support.h"

namespace recallbench::testing {
namespace {

struct Setting {
  std::int64_t vocab_size, length, pairs;
  double power_a;
  const char* filler;
  std::int64_t passes;
  std::uint64_t hash;  ///< FNV-1a of inputs, then labels, of examples [0, 50) and [2^33, 2^33 + 5)
};

std::unique_ptr<Task> make_mqar(const Setting& s) {
  return make_task("mqar",
                   mqar_values(s.vocab_size, s.length, s.pairs, s.power_a, s.filler, s.passes));
}

const Setting kSettings[] = {
    {20, 16, 2, 0.01, "zero", 1, 0x10a570f6344d8505u},
    {17, 16, 4, 0.01, "uniform", 1, 0xb8c5beb13db79a7u},
    {17, 16, 4, 1.0, "no_collision", 1, 0xc5e1908b510ecf55u},
    {5, 4, 1, 0.01, "zero", 1, 0x359618972584e51au},
    {5, 4, 1, 0.01, "uniform", 1, 0xf35b9d26ca526d15u},
    {256, 64, 4, 0.01, "uniform", 1, 0x1e8211d7be80302u},
    {256, 64, 4, 0.5, "zero", 1, 0x9b28a3a6136e099du},
    {256, 64, 8, 1.0, "no_collision", 1, 0x1a31423e6f7395c1u},
    {256, 64, 8, 2.0, "uniform", 3, 0xfe716fbb4d628d72u},
    {8192, 64, 4, 0.01, "uniform", 1, 0xbc2bc2995f62520u},
    {8192, 64, 4, 0.01, "zero", 1, 0xaeed5a18d5e7b53du},
    {8192, 64, 16, 0.01, "uniform", 1, 0x66ff18631cd53eb5u},
    {8192, 128, 8, 0.01, "uniform", 1, 0x1f0c103c9599898bu},
    {8192, 128, 32, 0.01, "no_collision", 1, 0x2e6a101e8cf4fde4u},
    {8192, 256, 16, 0.01, "uniform", 1, 0xdc591f78a4273997u},
    {8192, 256, 64, 0.01, "uniform", 1, 0x3db8476e2e407e7u},
    {8192, 512, 64, 0.01, "zero", 1, 0x4dcc6a12173abc7du},
    {8192, 512, 128, 0.01, "uniform", 1, 0x8b6d7a89f4360748u},
    {8192, 1024, 256, 0.01, "uniform", 1, 0xebf3ef5a33383f71u},
    {8192, 1024, 16, 0.01, "no_collision", 4, 0x45ea9a7a886315f7u},
    {65537, 64, 4, 0.01, "uniform", 1, 0x5c73f9af0267074cu},
    {1 << 24, 64, 4, 0.01, "uniform", 2, 0x5c27205d087cc57du},
    {130, 128, 32, 16.0, "uniform", 1, 0x4466a5901a82785cu},
    {67, 66, 7, 0.01, "uniform", 2, 0xb64c4236d99517a7u},
};

class MqarSetting : public ::testing::TestWithParam<Setting> {};
INSTANTIATE_TEST_SUITE_P(All, MqarSetting, ::testing::ValuesIn(kSettings));

TEST_P(MqarSetting, BitsNeverChange) {
  const auto task = make_mqar(GetParam());
  const Examples head(*task, 42, 0, 50), far(*task, 42, std::int64_t{1} << 33, 5);
  std::uint64_t hash = fnv1a(head.labels, fnv1a(head.inputs));
  hash = fnv1a(far.labels, fnv1a(far.inputs, hash));
  EXPECT_EQ(hash, GetParam().hash) << std::hex << "0x" << hash << "u";
}

TEST_P(MqarSetting, SolverIsRightOnEveryLabel) {
  const auto task = make_mqar(GetParam());
  const Examples data(*task, 7, 0, 1000);
  for (std::int64_t e = 0; e < data.count(); ++e) {
    const auto answers = task->solve(data.input(e));
    ASSERT_TRUE(answers.has_value());
    for (std::int64_t t = 0; t < data.length; ++t) {
      const std::int32_t label = data.label(e)[static_cast<std::size_t>(t)];
      if (label != kIgnoreLabel) {
        ASSERT_EQ((*answers)[static_cast<std::size_t>(t)], label) << e << " " << t;
      }
    }
  }
}

TEST_P(MqarSetting, HasTheLayoutOfTheDefinition) {
  const Setting& s = GetParam();
  const auto task = make_mqar(s);
  const Examples data(*task, 8, 0, 300);
  const std::int64_t pass = 2 * s.pairs, context = pass * s.passes;
  for (std::int64_t e = 0; e < data.count(); ++e) {
    const auto in = data.input(e), label = data.label(e);
    std::set<std::int32_t> keys, values, asked;
    for (std::int64_t t = 0; t < s.length; ++t) {
      const auto i = static_cast<std::size_t>(t);
      ASSERT_GE(in[i], 0);
      ASSERT_LT(in[i], s.vocab_size);
      if (t < pass) (t % 2 == 0 ? keys : values).insert(in[i]);
      if (t >= pass && t < context) {
        ASSERT_EQ(in[i], in[static_cast<std::size_t>(t % pass)]);
      }
      if (label[i] == kIgnoreLabel) continue;
      ASSERT_GE(t, context);
      ASSERT_EQ(t % 2, 0);
      ASSERT_LE(t, s.length - 2);
      ASSERT_TRUE(keys.count(in[i]) == 1 && values.count(label[i]) == 1);
      ASSERT_TRUE(asked.insert(in[i]).second) << "a key is asked twice";
    }
    const auto n = static_cast<std::size_t>(s.pairs);
    ASSERT_TRUE(keys.size() == n && values.size() == n && asked.size() == n);
    ASSERT_TRUE(*keys.begin() >= 1 && *keys.rbegin() < s.vocab_size / 2);
    ASSERT_TRUE(*values.begin() >= s.vocab_size / 2 && *values.rbegin() < s.vocab_size);
  }
}

TEST_P(MqarSetting, FillersAreOfTheKindAskedFor) {
  const Setting& s = GetParam();
  const auto task = make_mqar(s);
  const Examples data(*task, 9, 0, 300);
  const std::string kind = s.filler;
  std::int64_t nonzero = 0, fillers = 0;
  for (std::int64_t e = 0; e < data.count(); ++e) {
    const auto in = data.input(e), label = data.label(e);
    const std::set<std::int32_t> keys = [&] {
      std::set<std::int32_t> all;
      for (std::int64_t j = 0; j < s.pairs; ++j)
        all.insert(in[static_cast<std::size_t>(2 * j)]);
      return all;
    }();
    for (auto t = static_cast<std::size_t>(2 * s.pairs * s.passes); t < in.size(); ++t) {
      if (label[t] != kIgnoreLabel) continue;
      ++fillers;
      nonzero += in[t] != 0 ? 1 : 0;
      if (kind == "no_collision") {
        ASSERT_EQ(keys.count(in[t]), 0u);
      }
    }
  }
  if (kind == "zero")
    EXPECT_EQ(nonzero, 0);
  else
    EXPECT_GT(nonzero, fillers / 2);
}

TEST_P(MqarSetting, ExamplesDependOnSeedAndIndexAlone) {
  const auto task = make_mqar(GetParam());
  const Examples few(*task, 1, 0, 8), many(*task, 1, 0, 100), late(*task, 1, 60, 5);
  EXPECT_TRUE(std::equal(few.inputs.begin(), few.inputs.end(), many.inputs.begin()));
  EXPECT_TRUE(std::equal(few.labels.begin(), few.labels.end(), many.labels.begin()));
  EXPECT_TRUE(
      std::equal(late.inputs.begin(), late.inputs.end(), many.inputs.begin() + 60 * many.length));
  const Examples other(*task, 2, 0, 100);
  EXPECT_NE(other.inputs, many.inputs);
}

TEST_P(MqarSetting, TellsShapeSlicesAndChance) {
  const Setting& s = GetParam();
  const auto task = make_mqar(s);
  EXPECT_EQ(task->shape().vocab_size, s.vocab_size);
  EXPECT_EQ(task->shape().input_seq_len, s.length);
  EXPECT_EQ(task->shape().labels_per_example, s.pairs);
  const auto slices = task->slices();
  ASSERT_EQ(slices.size(), 3u);
  EXPECT_TRUE(slices[0].key == "num_kv_pairs" && slices[0].value == s.pairs);
  EXPECT_TRUE(slices[1].key == "input_seq_len" && slices[1].value == s.length);
  EXPECT_TRUE(slices[2].key == "num_passes" && slices[2].value == s.passes);
  EXPECT_EQ(task->chance(), 1.0 / static_cast<double>(s.vocab_size - s.vocab_size / 2));
  EXPECT_FALSE(task->available().has_value());
}

TEST(Mqar, RolesNameKeysValuesQueriesAndFillers) {
  const auto task = make_task("mqar", mqar_values(20, 16, 2, 0.01, "zero"));
  const Examples data(*task, 1, 0, 1);
  const std::vector<Role> roles = task->roles(data.input(0), data.label(0));
  for (std::size_t t = 0; t < 16; ++t) {
    const Role expected = t < 4 ? (t % 2 == 0 ? Role::key : Role::value)
                                : (data.labels[t] != kIgnoreLabel ? Role::query : Role::filler);
    EXPECT_EQ(roles[t], expected) << t;
  }
}

TEST(Mqar, BothSpellingsOfFillersResolveAlike) {
  const auto resolved = [](const char* key, Value value) {
    Options options("task 'mqar'", {{key, std::move(value)}});
    builtin_tasks().find("mqar").make(options);
    return options.resolved();
  };
  EXPECT_EQ(resolved("filler", std::string("zero")), resolved("random_non_queries", false));
  EXPECT_EQ(resolved("filler", std::string("uniform")), resolved("random_non_queries", true));
  for (const char* filler : {"zero", "uniform", "no_collision"}) {
    Options again("task 'mqar'", resolved("filler", std::string(filler)));
    builtin_tasks().find("mqar").make(again);
    EXPECT_EQ(again.resolved(), resolved("filler", std::string(filler)));
  }
}

struct Rule {
  Values values;
  const char* key;
  const char* text;
};

class MqarRule : public ::testing::TestWithParam<Rule> {};

TEST_P(MqarRule, IsNamedWhenBroken) {
  try {
    make_task("mqar", GetParam().values);
    FAIL() << "made with " << GetParam().key;
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_EQ(text.rfind("[task 'mqar'] ", 0), 0u) << text;
    EXPECT_NE(text.find("'" + std::string(GetParam().key) + "'"), std::string::npos) << text;
    EXPECT_NE(text.find(GetParam().text), std::string::npos) << text;
  }
}

Values changed(const std::string& key, Value value) {
  Values values = {{"vocab_size", std::int64_t{256}}, {"num_kv_pairs", std::int64_t{4}}};
  values[key] = std::move(value);
  return values;
}

INSTANTIATE_TEST_SUITE_P(
    All, MqarRule,
    ::testing::Values(
        Rule{changed("input_seq_len", std::int64_t{63}), "input_seq_len", "must be even"},
        Rule{changed("input_seq_len", std::int64_t{2}), "input_seq_len", "[4, 1048576]"},
        Rule{changed("input_seq_len", std::string("long")), "input_seq_len", "an integer"},
        Rule{changed("vocab_size", std::int64_t{64}), "vocab_size",
             "greater than input_seq_len: 64 <= 64"},
        Rule{changed("vocab_size", std::int64_t{3}), "vocab_size", "[4, 16777216]"},
        Rule{changed("vocab_size", 256.0), "vocab_size", "an integer"},
        Rule{changed("num_kv_pairs", std::int64_t{17}), "num_kv_pairs", "2 * 17 * 2 = 68 > 64"},
        Rule{changed("num_kv_pairs", std::int64_t{0}), "num_kv_pairs", "[1, 1048576]"},
        Rule{changed("num_kv_pairs", std::int64_t{-4}), "num_kv_pairs", "[1, 1048576]"},
        Rule{changed("num_passes", std::int64_t{8}), "num_kv_pairs", "2 * 4 * 9 = 72 > 64"},
        Rule{changed("num_passes", std::int64_t{0}), "num_passes", "[1, 1048576]"},
        Rule{mqar_values(9, 8, 4), "num_kv_pairs", "2 * 4 * 2 = 16 > 8"},
        Rule{changed("power_a", 0.0), "power_a", "finite number"},
        Rule{changed("power_a", -1.0), "power_a", "finite number"},
        Rule{changed("power_a", 17.0), "power_a", "finite number"},
        Rule{changed("power_a", std::nan("")), "power_a", "finite number"},
        Rule{changed("filler", std::string("zeros")), "filler", "did you mean 'zero'?"},
        Rule{changed("random_non_queries", std::int64_t{1}), "random_non_queries", "true or false"},
        Rule{{{"filler", std::string("zero")}, {"random_non_queries", true}},
             "random_non_queries",
             "contradicts filler"},
        Rule{{{"filler", std::string("no_collision")}, {"random_non_queries", false}},
             "random_non_queries",
             "contradicts filler"},
        Rule{changed("num_kv_pair", std::int64_t{4}), "num_kv_pair",
             "did you mean 'num_kv_pairs'?"},
        Rule{changed("train_power_a", 0.1), "train_power_a", "unknown key"}));

}  // namespace
}  // namespace recallbench::testing
