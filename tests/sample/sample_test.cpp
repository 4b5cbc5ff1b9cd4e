#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "kernels/base/error.h"
#include "kernels/base/io/json.h"
#include "kernels/base/io/npy.h"
#include "sweeps/cli/cli.h"
#include "sweeps/cli/key_value.h"
#include "tasks/segment.h"
#include "tasks/task.h"

namespace recallbench {
namespace {

/// What `recallbench sample WORDS` prints on stdout.
std::string sample(std::vector<std::string> words, bool json = false,
                   const std::string& color = "never") {
  CommandLine line;
  line.common.json = json;
  line.common.color = color;
  line.common.quiet = true;
  add_sample(line);
  words.insert(words.begin(), "sample");
  std::reverse(words.begin(), words.end());
  line.app.parse(words);
  ::testing::internal::CaptureStdout();
  try {
    EXPECT_EQ(line.action(), kDone);
  } catch (...) {
    ::testing::internal::GetCapturedStdout();
    throw;
  }
  std::fflush(stdout);
  return ::testing::internal::GetCapturedStdout();
}

std::string refusal(const std::vector<std::string>& words) {
  try {
    sample(words);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "";
}

const std::vector<std::string> kSmall = {"mqar", "vocab_size=20", "input_seq_len=16",
                                         "num_kv_pairs=2", "filler=zero"};

std::vector<std::string> small_with(std::vector<std::string> more) {
  more.insert(more.begin(), kSmall.begin(), kSmall.end());
  return more;
}

TEST(Sample, PrintsTheReferencesFirstExample) {
  const std::string text = sample(small_with({"--compat", "--seed", "0", "--count", "8"}));
  const std::string first =
      "mqar: vocab_size 20, num_kv_pairs 2, input_seq_len 16, num_passes 1, chance 0.1\n"
      "<key> {value} [query->answer] filler\n\n"
      "example 0\n 0: <8> {10} <3> {19} [3->19] 0*7 [8->10] 0 0 0\n\n";
  EXPECT_EQ(text.substr(0, first.size()), first);
}

TEST(Sample, ColorsOnlyWhenAsked) {
  EXPECT_EQ(sample(kSmall).find('\x1b'), std::string::npos);
  EXPECT_EQ(sample(kSmall, false, "auto").find('\x1b'), std::string::npos);  // no terminal
  EXPECT_NE(sample(kSmall, false, "always").find('\x1b'), std::string::npos);
}

TEST(Sample, ShowsTheExamplesThatTrainingSees) {
  Options options("task 'mqar'");
  const auto task = builtin_tasks().find("mqar").make(options);
  std::vector<std::int32_t> inputs(64), labels(64);
  task->generate(segment_seed(7, Split::test, 0), 5, 1, inputs.data(), labels.data());
  std::string expected = "[{\"index\":5,\"inputs\":[" + std::to_string(inputs[0]);
  for (std::size_t t = 1; t < 64; ++t)
    expected += "," + std::to_string(inputs[t]);
  const std::string text = sample({"mqar", "--seed", "7", "--split", "test", "--index", "5"}, true);
  EXPECT_EQ(text.substr(0, expected.size()), expected);
  EXPECT_NE(text, sample({"mqar", "--seed", "7", "--split", "valid", "--index", "5"}, true));
}

TEST(Sample, ManyExamplesAreOneJsonDocument) {
  const std::string text = sample(small_with({"--count", "3", "--index", "4"}), true);
  const Json examples = parse_json(text, "sample", ErrorKind::io);
  ASSERT_EQ(examples.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(examples.at(i).at("index").as_uint(), 4 + i);
    EXPECT_EQ(examples.at(i).at("inputs").size(), 16u);
    EXPECT_EQ(examples.at(i).at("labels").size(), 16u);
  }
}

TEST(Sample, ExportsWhatTheNpyTaskReads) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("recallbench_sample_" + std::to_string(getpid()));
  const std::vector<std::string> words =
      small_with({"--count", "3", "--out", (folder / "deep").string()});
  EXPECT_EQ(sample(words), "");
  const std::string inputs = (folder / "deep/inputs.npy").string();
  const std::string labels = (folder / "deep/labels.npy").string();
  EXPECT_EQ(parse_json(sample(words, true), "sample", ErrorKind::io).at("files"),
            Json::list(std::vector<std::string>{inputs, labels}));
  const NpyArray array = read_npy(inputs, 1 << 20);
  EXPECT_EQ(array.type, StoredType::i64);
  EXPECT_EQ(array.shape, (std::vector<std::int64_t>{3, 16}));
  const std::string again = sample(
      {"npy", "inputs=" + inputs, "labels=" + labels, "vocab_size=20", "--count", "3"}, true);
  EXPECT_EQ(again, sample(small_with({"--count", "3"}), true));
  const std::string message = refusal({"npy", "inputs=" + inputs, "labels=" + labels,
                                       "vocab_size=20", "--count", "4", "--index", "2"});
  EXPECT_NE(message.find("the files have 3 examples, 4 from index 2 on need 6"), std::string::npos)
      << message;
  std::filesystem::remove_all(folder);
}

TEST(Sample, RefusesWithAMessage) {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"mqr"}, "did you mean 'mqar'?"},
      {{"mqar", "num_kv_pair=4"}, "did you mean 'num_kv_pairs'?"},
      {{"mqar", "num_kv_pairs"}, "a parameter is written key=value, came 'num_kv_pairs'"},
      {{"mqar", "=4"}, "add the key"},
      {{"mqar", "num_kv_pairs=4", "num_kv_pairs=8"}, "is given twice"},
      {{"mqar", "num_kv_pairs=40"}, "160 > 64"},
      {{"mqar", "--compat", "--seed", "4294967296"}, "below 2^32"},
      {{"mqar", "--count", "4294967296"}, "lower --count"},
      {{"mqar", "--compat", "--index", "1099511627776"}, "or --index"},
      {{"npy", "inputs=a", "labels=b"}, "'vocab_size' is missing"},
  };
  for (const auto& [words, expected] : cases) {
    const std::string message = refusal(words);
    EXPECT_NE(message.find(expected), std::string::npos) << message << " | " << expected;
  }
  EXPECT_THROW(sample({}), CLI::ParseError);
  EXPECT_THROW(sample({"mqar", "--split", "training"}), CLI::ParseError);
  EXPECT_THROW(sample({"mqar", "--compat", "--split", "test"}), CLI::ParseError);
  EXPECT_THROW(sample({"mqar", "--filler-seed", "1"}), CLI::ParseError);
  EXPECT_THROW(sample({"mqar", "--count", "0"}), CLI::ParseError);
  EXPECT_THROW(sample({"mqar", "--seed", "-1"}), CLI::ParseError);
  EXPECT_THROW(sample({"mqar", "--compat", "--filler-seed", "-1"}), CLI::ParseError);
}

TEST(KeyValue, ReadsValuesAsARecipeWould) {
  const std::pair<const char*, Value> cases[] = {
      {"true", true},
      {"false", false},
      {"-3", std::int64_t{-3}},
      {"+3", std::int64_t{3}},
      {"0.5", 0.5},
      {"1e-3", 1e-3},
      {"relu", std::string("relu")},
      {"\"3\"", std::string("3")},
      {"''", std::string()},
      {"", std::string()},
      {"3x", std::string("3x")},
      {"99999999999999999999", 1e20},
      {"[1, -2]", std::vector<std::int64_t>{1, -2}},
      {"[1, 2.5]", std::vector<double>{1, 2.5}},
      {"[a,b]", std::vector<std::string>{"a", "b"}},
      {"[]", std::vector<std::int64_t>{}},
  };
  for (const auto& [text, value] : cases)
    EXPECT_EQ(value_from_text(text), value) << text;
}

}  // namespace
}  // namespace recallbench
