// `--json` prints one JSON document whatever happens, and `--quiet` no remarks.
#include "kernels/base/io/json.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/process/process.h"

namespace recallbench {
namespace {

constexpr const char* kGnuplot = "/usr/bin/gnuplot";

/// One run of the mixer that does nothing; of a model whose name no Latin font can draw.
constexpr const char* kRecipe = R"(schema = 1
name = "tiny"
[task]
batch_size = 16
train = [{task = "mqar", vocab_size = 64, input_seq_len = 16, num_kv_pairs = 2, num_examples = 64}]
test = [{task = "mqar", vocab_size = 64, input_seq_len = 16, num_kv_pairs = 2, num_examples = 32}]
[model]
d_model = 16
[train]
max_epochs = 1
[[sweep.models]]
name = "長い"
layers = [{mixer = "identity"}]
)";

class JsonOutput : public testing::Test {
 protected:
  JsonOutput() {
    write_text(folder_ / "recipe.toml", kRecipe);
    options_.folder = folder_.path();
  }
  Ended cli(std::vector<std::string> words) const {
    words.insert(words.begin(), RECALLBENCH_BINARY);
    return run_program(words, options_);
  }
  TemporaryFolder folder_;
  ProcessOptions options_;
};

TEST_F(JsonOutput, ARunThatFailsSaysWhy) {
  const Ended ended = cli({"run", "recipe.toml", "--run-timeout", "0.001", "--json"});
  EXPECT_EQ(ended.code, 1) << ended.err;
  const Json json = parse_json(ended.out, "run", ErrorKind::io);
  EXPECT_EQ(json.at("failed").as_int(), 1);
  EXPECT_EQ(json.at("failures").size(), 1u);
}

TEST_F(JsonOutput, ForwardNamesItsFiles) {
  const std::string golden =
      std::string(RECALLBENCH_SOURCE_DIR) + "/tests/goldens/models/attention_base_conv/";
  const std::vector<std::string> words = {"forward",   golden + "model.toml",
                                          "--weights", golden + "weights.safetensors",
                                          "--inputs",  golden + "inputs.npy",
                                          "--labels",  golden + "labels.npy",
                                          "--out",     "out",
                                          "--json",    "--quiet"};
  const Ended ended = cli(words);
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.err, "");
  const Json json = parse_json(ended.out, "forward", ErrorKind::io);
  std::size_t files = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder_ / "out"))
    files += file.is_regular_file() ? 1 : 0;
  EXPECT_EQ(json.at("files").size(), files);
  for (const Json& file : json.at("files").as_array())
    EXPECT_TRUE(std::filesystem::exists(folder_ / file.as_string())) << file.as_string();
}

TEST_F(JsonOutput, QuietSweepsMakeNoRemarksOnTheirFigures) {
  if (!std::filesystem::exists(kGnuplot)) GTEST_SKIP() << "gnuplot is not installed";
  write_text(folder_ / "fonts.conf",
             "<?xml version=\"1.0\"?>\n<fontconfig><dir>/usr/share/fonts/truetype/dejavu</dir>"
             "<cachedir>cache</cachedir></fontconfig>\n");
  options_.environment["FONTCONFIG_FILE"] = folder_ / "fonts.conf";
  const Ended told = cli({"sweep", "recipe.toml"});
  ASSERT_EQ(told.code, 0) << told.err;
  EXPECT_NE(told.err.find("note: "), std::string::npos) << told.err;
  const Ended quiet = cli({"sweep", "recipe.toml", "--out", "quiet", "--quiet"});
  EXPECT_EQ(quiet.code, 0);
  EXPECT_EQ(quiet.err, "");
}

}  // namespace
}  // namespace recallbench
