// `recallbench check`: obligations, golden cases, deviations, and the exit code that they make.
#include <gtest/gtest.h>

#include <filesystem>

#include "kernels/base/io/json.h"
#include "tests/process/process.h"

namespace recallbench {
namespace {

namespace fs = std::filesystem;

const std::string kGoldens = std::string(RECALLBENCH_SOURCE_DIR) + "/tests/goldens/models";

Ended check(std::vector<std::string> words) {
  words.insert(words.begin(), {RECALLBENCH_BINARY, "check"});
  return run_program(words);
}

Json card_of(const Ended& ended) {
  return parse_json(ended.out, "check", ErrorKind::io);
}

TEST(Check, ACardHasObligationsGoldenCasesAndDeviations) {
  const Ended ended = check({"sliding_window", "--json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Json card = card_of(ended);
  EXPECT_EQ(card.at("obligations").size(), 9u);
  ASSERT_EQ(card.at("golden").at("cases").size(), 1u);
  const Json& golden = card.at("golden").at("cases").at(0);
  EXPECT_EQ(golden.at("name").as_string(), "sliding_window");
  EXPECT_EQ(golden.at("status").as_string(), "passed");
  ASSERT_GE(golden.at("comparisons").size(), 5u);
  for (const Json& comparison : golden.at("comparisons").as_array()) {
    EXPECT_EQ(comparison.at("status").as_string(), "passed");
    EXPECT_LE(comparison.at("error").as_double(), comparison.at("bound").as_double());
  }
  EXPECT_EQ(card.at("deviations").at(0).at("number").as_string(), "Q13");

  const Ended text = check({"sliding_window"});
  EXPECT_EQ(text.code, 0) << text.err;
  for (const char* part : {"ok      9 tiny MQAR", "ok      sliding_window", "logits ", "gradients ",
                           "training trace ", "a window of W shows W keys besides"})
    EXPECT_TRUE(contains(text.out, part)) << part << "\n" << text.out;
  const Ended listed = run_program({RECALLBENCH_BINARY, "list", "mixers"});
  EXPECT_TRUE(contains(listed.out, "a window of W shows W keys besides")) << listed.out;
}

TEST(Check, TheReferencesFormIsAskedForAsInSample) {
  EXPECT_EQ(check({"base_conv", "--compat"}).code, 0);
  EXPECT_EQ(check({"base_conv", "--zoology"}).code, 2);
  EXPECT_EQ(run_program({RECALLBENCH_BINARY, "sample", "mqar", "--compat"}).code, 0);
}

TEST(Check, AGoldenCaseThatLiesFailsTheCheck) {
  const TemporaryFolder folder;
  fs::copy(kGoldens + "/sliding_window", folder / "true_one");
  fs::copy(kGoldens + "/sliding_window", folder / "liar");
  std::string weights = file_text(folder / "liar/weights.safetensors");
  weights[weights.size() - 1] = static_cast<char>(weights.back() ^ 0x01);  // exponent, last float32
  write_text(folder / "liar/weights.safetensors", weights);
  const Ended ended = check({"sliding_window", "--goldens", folder.path()});
  EXPECT_EQ(ended.code, 1) << ended.err;
  EXPECT_TRUE(contains(ended.out, "FAILED  liar")) << ended.out;
  EXPECT_TRUE(contains(ended.out, "ok      true_one")) << ended.out;
}

TEST(Check, WithoutCasesItSaysThatNothingWasCompared) {
  const TemporaryFolder empty;
  const Ended ended = check({"sliding_window", "--goldens", empty.path()});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(contains(ended.out, "n/a     none of the 0 in " + empty.path())) << ended.out;
  EXPECT_TRUE(contains(ended.out, "nothing was compared")) << ended.out;
  EXPECT_TRUE(contains(ended.out, "--goldens DIR")) << ended.out;
  const Json card = card_of(check({"sliding_window", "--goldens", empty.path(), "--json"}));
  EXPECT_EQ(card.at("golden").at("cases").size(), 0u);
  EXPECT_NE(card.at("golden").at("nothing").as_string(), "");
}

TEST(Check, AMissingFolderIsWrongUsage) {
  const Ended ended = check({"identity", "--goldens", "/nowhere/at/all"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_EQ(ended.out, "");
  EXPECT_TRUE(contains(ended.err, "'/nowhere/at/all' is no folder")) << ended.err;
}

}  // namespace
}  // namespace recallbench
