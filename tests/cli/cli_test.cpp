#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <thread>

#include "kernels/base/io/json.h"
#include "kernels/cuda/runtime.h"
#include "tests/process/process.h"

namespace recallbench {
namespace {

Ended cli(std::vector<std::string> words, const ProcessOptions& options = {}) {
  words.insert(words.begin(), RECALLBENCH_BINARY);
  return run_program(words, options);
}

/// A whole recipe without a sweep: one run of the mixer that does nothing.
constexpr const char* kRecipe = R"(schema = 1
name = "tiny"
[task]
batch_size = 16
train = [{task = "mqar", vocab_size = 64, input_seq_len = 16, num_kv_pairs = 2, num_examples = 64}]
test = [{task = "mqar", vocab_size = 64, input_seq_len = 16, num_kv_pairs = 2, num_examples = 32}]
[model]
vocab_size = 64
d_model = 16
layers = [{mixer = "identity"}]
[train]
max_epochs = 2
lr = 0.01
)";

constexpr const char* kModels = R"(
[[sweep.models]]
name = "wide"
d_model = 32
[[sweep.models]]
name = "narrow"
d_model = 8
)";

constexpr const char* kSweep = R"(
[sweep.grid]
seed = [1, 2]
)";

class Cli : public testing::Test {
 protected:
  Cli() {
    write_text(folder_ / "one.toml", kRecipe);
    write_text(folder_ / "two.toml", std::string(kRecipe) + kSweep);
    write_text(folder_ / "models.toml", std::string(kRecipe) + kModels);
    options_.folder = folder_.path();
  }
  TemporaryFolder folder_;
  ProcessOptions options_;
};

struct WrongLine {
  std::vector<std::string> words;
  int code;
  std::string part;  ///< of the message
};

TEST_F(Cli, WrongLinesAreToldWhatAndHow) {
  write_text(folder_ / "empty.toml", "");
  write_text(folder_ / "notes.txt", "hello");
  const std::vector<WrongLine> lines = {
      {{}, 2, "subcommand"},
      {{"swep", "two.toml"}, 2, "did you mean 'sweep'?"},
      {{"frobnicate"}, 2, "known: "},
      {{"--device", "cpu", "swep", "two.toml"}, 2, "no subcommand 'swep'"},
      {{"sweep"}, 2, "RECIPE"},
      {{"sweep", "two.toml", "--job", "2"}, 2, "did you mean '--jobs'?"},
      {{"sweep", "two.toml", "--job=2"}, 2, "did you mean '--jobs'?"},
      {{"sweep", "two.toml", "--jobs"}, 2, "--jobs"},
      {{"sweep", "two.toml", "--jobs", "0"}, 2, "--jobs"},
      {{"sweep", "two.toml", "--jobs", "two"}, 2, "must be a whole number from 1 to 4096"},
      {{"sweep", "two.toml", "--run-timeout", "-1"}, 2, "--run-timeout"},
      {{"sweep", "two.toml", "--colour", "never"}, 2, "did you mean '--color'?"},
      {{"sweep", "two.toml", "--color", "blue"}, 2, "--color"},
      {{"sweep", "two.toml", "--device", "cuda"}, 2, "GPU"},
      {{"sweep", "two.toml", "--device", "gpu"}, 2, "must be cpu, cuda or cuda:N"},
      {{"sweep", "two.toml", "--device", "cuda:"}, 2, "must be cpu, cuda or cuda:N"},
      {{"sweep", "two.toml", "--device", "cuda:-1"}, 2, "must be cpu, cuda or cuda:N"},
      {{"sweep", "two.toml", "--device", "cuda:99"}, 2, "GPU"},
      {{"sweep", "two.toml", "precision=tf32"}, 2, "needs --device cuda"},
      {{"sweep", "two.toml", "precision=fp8"}, 2, "tf32, bf16"},
      {{"sweep", "two.toml", "--population", "0"}, 2, "--population"},
      {{"sweep", "two.toml", "--models", "nobody"}, 2, "no model 'nobody'"},
      {{"sweep", "no-such-recipe"}, 2, "no-such-recipe"},
      {{"sweep", "no\nrecipe\x1b"}, 2, "'no\\x0arecipe\\x1b' is neither"},
      {{"sweep", "empty.toml"}, 2, "schema"},
      {{"sweep", "notes.txt"}, 2, "notes.txt:1"},
      {{"sweep", "two.toml", "lr"}, 2, "lr"},
      {{"sweep", "two.toml", "train.lrr=1"}, 2, "lr"},
      {{"sweep", "two.toml", "train.lr=-1"}, 2, "lr"},
      {{"sweep", "two.toml", "--max-runs", "1"}, 2, "2"},
      {{"run", "two.toml"}, 2, "seed (2)"},
      {{"run", "models.toml"}, 2, "of 2 models; choose one by --models NAME (wide, narrow)"},
      {{"run"}, 2, "RECIPE"},
      {{"check", "atention"}, 2, "--plugin FILE.so"},
      {{"check", "lru"}, 2, "`recallbench list mixers`"},
      {{"sample", "mqar", "--zoology"}, 2, "--filler-seed, --out"},
      {{"status"}, 2, "RESULTS"},
      {{"status", "nowhere"}, 3, "manifest.json"},
      {{"status", "one.toml"}, 3, "one.toml"},
      {{"list", "mixer"}, 2, "mixer"},
      {{"list", "mixers", "atention"}, 2, "no mixer 'atention'; did you mean 'attention'?"},
      {{"list", "mixers", ""}, 2, "no mixer ''"},
      {{"list", "mixers", "a\x1b"}, 2, "no mixer 'a\\x1b'"},
      {{"list", "tasks", "mqr"}, 2, "no task 'mqr'; did you mean 'mqar'?"},
      {{"list", "recipes", "dem"}, 2, "no recipe 'dem'; did you mean 'demo'?"},
      {{"list", "mixers", "based", "gla"}, 2, "gla"},
      {{"--jsn", "list", "mixers"}, 2, "did you mean '--json'?"},
      {{"doctor", "now"}, 2, "now"},
      {{"sweep", "two.toml", "--out", "notes.txt"}, 3, "notes.txt"},
      {{"sweep", "two.toml", "--out", "notes.txt/below"}, 3, "notes.txt"},
      {{"--plugin", "missing.so", "list", "mixers"}, 4, "missing.so"},
  };
  for (const WrongLine& line : lines) {
    std::string shown;
    for (const std::string& word : line.words)
      shown += " " + word;
    const Ended ended = cli(line.words, options_);
    EXPECT_EQ(ended.code, line.code) << shown << "\n" << ended.err;
    EXPECT_TRUE(contains(ended.err, line.part)) << shown << "\n" << ended.err;
    EXPECT_EQ(ended.out, "") << shown;
    EXPECT_EQ(ended.err.find("terminate called"), std::string::npos) << shown;
    EXPECT_LE(std::count(ended.err.begin(), ended.err.end(), '\n'), 3) << shown << "\n"
                                                                       << ended.err;
  }
}

TEST_F(Cli, WrongProgressVariableIsUsage) {
  options_.environment = {{"RECALLBENCH_PROGRESS", "fancy"}};
  const Ended ended = cli({"sweep", "two.toml"}, options_);
  EXPECT_EQ(ended.code, 2);
  EXPECT_TRUE(contains(ended.err, "RECALLBENCH_PROGRESS")) << ended.err;
}

TEST_F(Cli, HelpOfEverySubcommandHasExamples) {
  const Ended all = cli({"--help"});
  EXPECT_EQ(all.code, 0);
  for (const char* name : {"run", "sweep", "status", "plot", "pareto", "compare", "list", "check",
                           "sample", "forward", "doctor"}) {
    EXPECT_TRUE(contains(all.out, std::string("  ") + name)) << name;
    const Ended ended = cli({name, "--help"});
    EXPECT_EQ(ended.code, 0) << name;
    EXPECT_TRUE(contains(ended.out, std::string(":\n  recallbench ") + name)) << ended.out;
    for (const char* common : {"--json", "--quiet", "--color", "--device", "--plugin"})
      EXPECT_TRUE(contains(ended.out, common)) << ended.out;
    EXPECT_EQ(ended.err, "") << name;
  }
  EXPECT_FALSE(contains(all.out, "worker")) << all.out;
  for (const char* variable : {"RECALLBENCH_PROGRESS", "RECALLBENCH_RECIPES", "NO_COLOR"})
    EXPECT_TRUE(contains(all.out, variable)) << all.out;
}

TEST_F(Cli, ListShowsWhatStandsBehindARequiredKey) {
  const Ended ended = cli({"list", "tasks"});
  EXPECT_EQ(ended.code, 0) << ended.err;
  const std::string npy = ended.out.substr(ended.out.find("\nnpy "));
  for (const char* row : {"inputs      required", "labels      required", "vocab_size  required",
                          "digest      that of the files"})
    EXPECT_TRUE(contains(npy, std::string("    ") + row)) << npy;
}

TEST_F(Cli, ListShowsOneAlone) {
  for (const auto& [what, name, first] : {std::array{"mixers", "based", "base_conv"},
                                          {"tasks", "npy", "mqar"},
                                          {"recipes", "feature-maps", "based-figure2"}}) {
    const Ended all = cli({"list", what}), one = cli({"list", what, name});
    EXPECT_EQ(one.code, 0) << one.err;
    EXPECT_TRUE(one.out.starts_with(name)) << one.out;
    EXPECT_LT(one.out.size(), all.out.size());
    EXPECT_TRUE(contains("\n" + all.out, std::string("\n") + first)) << all.out;
    EXPECT_FALSE(contains("\n" + one.out, std::string("\n") + first)) << one.out;
    const Ended ended = cli({"list", what, name, "--json"});
    const Json json = parse_json(ended.out, "list", ErrorKind::io);
    ASSERT_EQ(json.size(), 1u) << ended.out;
    EXPECT_EQ(json.at(0).at("name").as_string(), name);
  }
  const std::string based = cli({"list", "mixers", "based"}).out;
  EXPECT_TRUE(contains(cli({"list", "mixers"}).out, based)) << based;
  for (const char* part : {"\n    feature_dim ", "compat = \"zoology\": "})
    EXPECT_TRUE(contains(based, part)) << based;
}

TEST_F(Cli, VersionIsOneLine) {
  const Ended ended = cli({"--version"});
  EXPECT_EQ(ended.code, 0);
  EXPECT_TRUE(ended.out.starts_with("recallbench ")) << ended.out;
  EXPECT_EQ(std::count(ended.out.begin(), ended.out.end(), '\n'), 1);
}

TEST_F(Cli, DryRunTrainsNothing) {
  const Ended ended = cli({"sweep", "two.toml", "--dry-run"}, options_);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(contains(ended.out, "tiny: 2 runs, results in results/tiny")) << ended.out;
  EXPECT_TRUE(contains(ended.out, "seed=2")) << ended.out;
  EXPECT_NE(access((folder_ / "results").c_str(), F_OK), 0);
  const Ended json = cli({"sweep", "two.toml", "--dry-run", "--json"}, options_);
  EXPECT_EQ(parse_json(json.out, "dry run", ErrorKind::io).at("runs").size(), 2u);
}

TEST_F(Cli, DryRunPromisesNoMoreThanThereIs) {
  const std::vector<std::string> plain = {"sweep", "two.toml", "--dry-run", "--jobs", "4096"};
  const Ended without = cli(plain, options_);
  EXPECT_EQ(without.code, 0) << without.err;
  EXPECT_FALSE(contains(without.out, "4096")) << without.out;
  EXPECT_FALSE(contains(without.out, "early stopping")) << without.out;
  std::vector<std::string> stopping = plain;
  stopping.push_back("train.early_stopping.threshold=0.9");
  EXPECT_TRUE(contains(cli(stopping, options_).out, "; early stopping ends most")) << without.out;
}

TEST_F(Cli, DryRunTakesACoreForWhatOneDoes) {
  const Ended ended = cli({"sweep", "two.toml", "--dry-run", "--json", "--jobs", "1"}, options_);
  const Json json = parse_json(ended.out, "dry run", ErrorKind::io);
  const double rate = json.at("operations").as_double() / json.at("seconds").as_double();
  EXPECT_GT(rate, 1e11);
  EXPECT_LT(rate, 5e11);
}

TEST_F(Cli, DryRunOnGpusIsNotThatOfTheCpu) {
  const Ended ended = cli({"sweep", "two.toml", "--dry-run", "--device", "cuda:0"}, options_);
  if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU";
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(contains(ended.out, " on a GPU such as the H200")) << ended.out << ended.err;
}

TEST_F(Cli, LoneRunTakesOneOfTheModels) {
  const Ended ended = cli({"run", "models.toml", "--models", "narrow", "--dry-run"}, options_);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(contains(ended.out, "tiny: 1 run,")) << ended.out;
}

TEST_F(Cli, CudaIsBuiltByBootstrap) {
  if (kCudaBuild) GTEST_SKIP() << "built with CUDA";
  const Ended device = cli({"sweep", "two.toml", "--device", "cuda"}, options_);
  EXPECT_EQ(device.code, 2);
  EXPECT_TRUE(contains(device.err, "built without CUDA")) << device.err;
  EXPECT_TRUE(contains(device.err, "`./bootstrap build cuda`")) << device.err;
  EXPECT_TRUE(contains(cli({"doctor"}, options_).out, "`./bootstrap build cuda`"));
}

TEST_F(Cli, DoctorSaysWhatIsThere) {
  const Ended text = cli({"doctor"}, options_);
  EXPECT_EQ(text.code, 0);
  for (const char* name :
       {"cores", "memory", "compiler", "SIMD", "libraries", "gnuplot", "CUDA", "folder"})
    EXPECT_TRUE(contains(text.out, name)) << text.out;
  const Ended json = cli({"doctor", "--json"}, options_);
  const Json entries = parse_json(json.out, "doctor", ErrorKind::io);
  EXPECT_GT(entries.size(), 0u);
  for (const Json& entry : entries.as_array())
    EXPECT_NE(entry.at("state").as_string() == "ok", !entry.at("fix").is_null());
}

TEST_F(Cli, SweepThenStatusThenNothingLeftToDo) {
  const Ended sweep = cli({"sweep", "two.toml", "--no-plot"}, options_);
  ASSERT_EQ(sweep.code, 0) << sweep.err;
  EXPECT_TRUE(contains(sweep.out, "results/tiny/frontier.csv")) << sweep.out;
  EXPECT_TRUE(contains(sweep.err, "[2/2] done")) << sweep.err;
  for (const char bad : {'\x1b', '\r'}) {
    EXPECT_FALSE(contains(sweep.out, std::string(1, bad)));
    EXPECT_FALSE(contains(sweep.err, std::string(1, bad)));
  }
  const Ended status = cli({"status", "results/tiny", "--json"}, options_);
  EXPECT_EQ(status.code, 0);
  EXPECT_EQ(parse_json(status.out, "status", ErrorKind::io).at("done").as_int(), 2);
  const Ended again = cli({"sweep", "two.toml", "--no-plot"}, options_);
  EXPECT_EQ(again.code, 0);
  EXPECT_TRUE(contains(again.err, "nothing was trained")) << again.err;
  EXPECT_EQ(again.out, sweep.out);
  const Ended quiet = cli({"sweep", "two.toml", "--no-plot", "--quiet", "--json"}, options_);
  EXPECT_EQ(quiet.err, "");
  EXPECT_EQ(parse_json(quiet.out, "sweep", ErrorKind::io).at("done").as_int(), 2);
}

TEST_F(Cli, AnUnreadableResultIsNamedByWhoeverMeetsIt) {
  ASSERT_EQ(cli({"sweep", "two.toml", "--no-plot"}, options_).code, 0);
  const std::string runs = folder_ / "results/tiny/runs";
  const std::string id = std::filesystem::directory_iterator(runs)->path().filename().string();
  const std::string file = "results/tiny/runs/" + id + "/result.json";
  const std::string whole = file_text(folder_ / file);
  const std::string seed = contains(whole, "\"seed\": 1,") ? "seed=1" : "seed=2";
  write_text(folder_ / file, whole.substr(0, whole.size() / 2));

  const Ended status = cli({"status", "results/tiny"}, options_);
  EXPECT_EQ(status.code, 0) << status.err;
  for (const std::string& part :
       {std::string("done           1"), std::string("unreadable     1"), "unreadable " + id, file})
    EXPECT_TRUE(contains(status.out, part)) << part << "\n" << status.out;
  const Ended json = cli({"status", "results/tiny", "--json"}, options_);
  EXPECT_EQ(parse_json(json.out, "status", ErrorKind::io).at("unreadable").as_int(), 1);

  for (const std::string command : {"sweep", "run"}) {
    std::vector<std::string> words = {command, "two.toml", "--json"};
    if (command == "run") words.push_back(seed);
    const Ended ended = cli(words, options_);
    EXPECT_EQ(ended.code, 1) << command << ended.err;
    EXPECT_TRUE(contains(ended.err, "unreadable: ") && contains(ended.err, file)) << ended.err;
    EXPECT_TRUE(contains(ended.err, "delete this file to train the run again")) << ended.err;
    EXPECT_FALSE(contains(ended.err, "run the same command to try")) << ended.err;
  }
  for (const std::string command : {"plot", "pareto", "compare"}) {
    const Ended ended = cli({command, "results/tiny", "--json"}, options_);
    EXPECT_NE(ended.code, 3) << command << ended.err;
    if (command != "pareto") continue;
    EXPECT_EQ(parse_json(ended.out, "pareto", ErrorKind::io).at("failed").as_int(), 1);
  }
  std::filesystem::remove(folder_ / file);
  EXPECT_EQ(cli({"sweep", "two.toml", "--no-plot"}, options_).code, 0);
  EXPECT_EQ(file_text(folder_ / file), whole);
}

TEST_F(Cli, LoneRunPrintsItsResultAndJoinsTheSweep) {
  ASSERT_EQ(cli({"sweep", "two.toml", "--no-plot"}, options_).code, 0);
  const Ended run = cli({"run", "one.toml", "seed=3"}, options_);
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(contains(run.out, "test accuracy")) << run.out;
  for (const char* slice : {"    num_kv_pairs=2    0.", "    input_seq_len=16  0."})
    EXPECT_TRUE(contains(run.out, slice)) << run.out;
  const Ended json = cli({"run", "one.toml", "seed=3", "--json"}, options_);
  EXPECT_EQ(parse_json(json.out, "run", ErrorKind::io).at("result").at("status").as_string(),
            "done");
  const Ended status = cli({"status", "results/tiny", "--json"}, options_);
  EXPECT_EQ(parse_json(status.out, "status", ErrorKind::io).at("total").as_int(), 3);
}

/// Data that take half a minute to make, in the order of the reference: all keys, then all values.
TEST_F(Cli, ASignalEndsTheMakingOfDataAtOnce) {
  std::string recipe = kRecipe;
  for (const auto& [from, to] :
       {std::pair<std::string, std::string>{"schema = 1", "schema = 1\ncompat = \"zoology\""},
        {"vocab_size = 64", "vocab_size = 1048576"},
        {"num_examples = 64", "num_examples = 3000"},
        {"d_model = 16", "d_model = 2"}})
    for (std::size_t at = 0; (at = recipe.find(from, at)) != std::string::npos; at += to.size())
      recipe.replace(at, from.size(), to);
  write_text(folder_ / "large.toml", recipe);
  Process run({RECALLBENCH_BINARY, "run", "large.toml"}, options_);
  ASSERT_TRUE(eventually([&] { return !run.children().empty(); }));
  std::this_thread::sleep_for(std::chrono::seconds(2));  // it makes them now
  run.send(SIGTERM);
  const auto sent = std::chrono::steady_clock::now();
  const Ended ended = run.wait();
  EXPECT_LT(std::chrono::steady_clock::now() - sent, std::chrono::seconds(4));
  EXPECT_EQ(ended.code, 75) << ended.err;
  EXPECT_TRUE(contains(ended.err, "stopped by SIGTERM")) << ended.err;
}

TEST_F(Cli, ReaderThatGoesAwayIsNoError) {
  options_.environment = {{"PROGRAM", RECALLBENCH_BINARY}};
  const Ended ended =
      run_program({"bash", "-c", "\"$PROGRAM\" --help | true; echo ${PIPESTATUS[0]}"}, options_);
  EXPECT_EQ(ended.out, "0\n") << ended.err;
  EXPECT_EQ(ended.err, "");
}

TEST_F(Cli, FullOutputDeviceIsExit3) {
  options_.environment = {{"PROGRAM", RECALLBENCH_BINARY}};
  const Ended ended = run_program({"bash", "-c", "\"$PROGRAM\" --help > /dev/full"}, options_);
  EXPECT_EQ(ended.code, 3) << ended.err;
  EXPECT_TRUE(contains(ended.err, "standard output")) << ended.err;
}

}  // namespace
}  // namespace recallbench
