// Whole runs: the same bits again, stopped and resumed, on more threads; divergence; schedule.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/temporary_folder.h"
#include "kernels/base/version.h"
#include "sweeps/config/recipe.h"
#include "sweeps/train/metrics_json.h"

namespace recallbench {
namespace {

namespace fs = std::filesystem;

RunConfig small_run(const std::vector<std::string>& overrides = {}) {
  const std::string recipe = R"(
schema = 1
name = "small"
[task]
batch_size = {train = 16, test = 50}
train = [{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4, num_examples = 200},
         {task = "mqar", vocab_size = 64, input_seq_len = 16, num_kv_pairs = 2, num_examples = 40}]
test = [{task = "mqar", vocab_size = 64, input_seq_len = 32, num_kv_pairs = 4, num_examples = 60}]
[model]
vocab_size = 64
d_model = 16
layers = [{mixer = "base_conv", kernel_size = 3}, {mixer = "attention"}]
[train]
max_epochs = 3
lr = 1e-2
)";
  return parse_recipe(recipe, "small.toml", overrides).runs.at(0);
}

/// Everything that a result says, as text.
std::string text(const RunResult& r) {
  return fmt::format("{} {} {} {} {} {} {} {}", r.status, r.reason, r.epochs, r.steps,
                     to_json(r.valid).compact(), to_json(r.test).compact(), r.num_parameters,
                     r.state_bytes);
}

TEST(TrainRun, SameBitsAgainAndOnThreeThreads) {
  const RunConfig config = small_run();
  TrainHooks one, three;
  three.threads = 3;
  const std::string first = text(train_run(config, one));
  EXPECT_EQ(first, text(train_run(config, one)));
  EXPECT_EQ(first, text(train_run(config, three)));
  EXPECT_NE(first, text(train_run(small_run({"seed=2"}), one)));
}

TEST(TrainRun, SameBitsInAPopulation) {
  const std::vector<RunConfig> configs = {small_run({"train.lr=3e-3"}), small_run(),
                                          small_run({"seed=2"}),
                                          small_run({"train.lr=1e30", "train.weight_decay=0"})};
  std::vector<TrainMember> members;
  for (const RunConfig& config : configs) {
    EXPECT_TRUE(same_shape(config, configs[0]));
    members.push_back({&config, {}});
  }
  const std::vector<RunResult> together = train_population(members);
  for (std::size_t i = 0; i < configs.size(); ++i)
    EXPECT_EQ(text(together[i]), text(train_run(configs[i], {}))) << i;
  EXPECT_EQ(together[3].status, "diverged");
  EXPECT_FALSE(same_shape(small_run({"model.d_model=32"}), configs[0]));
}

// Each is told the seconds of evaluation up to its end: an evaluation between two would show.
TEST(TrainRun, MembersThatEndTogetherAreTestedByOneEvaluation) {
  for (const std::int64_t epochs : {1, 3}) {  // stopped early, and after the last
    const std::string stop =
        fmt::format("train.early_stopping.threshold={}", epochs == 1 ? 0.0 : 0.9999);
    const std::vector<RunConfig> configs = {small_run({stop}), small_run({stop, "seed=2"}),
                                            small_run({stop, "seed=3"})};
    std::vector<double> seconds;
    TrainHooks hooks;
    hooks.on_end = [&](const RunResult& result, const RunTiming& timing) {
      EXPECT_EQ(result.epochs, epochs);
      seconds.push_back(timing.eval_s);
    };
    std::vector<TrainMember> members;
    for (const RunConfig& config : configs)
      members.push_back({&config, hooks});
    train_population(members);
    ASSERT_EQ(seconds.size(), 3u);
    EXPECT_GT(seconds[0], 0);
    EXPECT_EQ(seconds[1], seconds[0]) << epochs;
    EXPECT_EQ(seconds[2], seconds[0]) << epochs;
  }
}

// Two inputs of the convolution, and a key and a value of each of 32 tokens, 16 numbers each.
TEST(TrainRun, EachMemberOfAPopulationSaysWhatItsDecoderCarries) {
  const RunConfig first = small_run(), second = small_run({"seed=2"});
  for (const RunResult& result : train_population({{&first, {}}, {&second, {}}})) {
    EXPECT_EQ(result.state_length, 32);
    EXPECT_EQ(result.state_bytes, 4 * 16 * (2 + 2 * 32));
  }
}

// Two members share a seed, and the third has another.
TEST(TrainRun, PreparedAheadSameBits) {
  const std::vector<RunConfig> configs = {small_run(), small_run({"train.lr=3e-3"}),
                                          small_run({"seed=2"})};
  std::vector<TrainMember> members;
  for (const RunConfig& config : configs)
    members.push_back({&config, {}});
  Preparation prepared = prepare_population(configs, 2, "", [] { return false; });
  EXPECT_EQ(prepared.data.size(), 2U);
  EXPECT_EQ(prepared.initial_values.size(), 2U);
  EXPECT_EQ(prepared.state_bytes, 4 * 16 * (2 + 2 * 32));
  const std::vector<RunResult> results = train_population(members, std::move(prepared));
  for (std::size_t i = 0; i < configs.size(); ++i)
    EXPECT_EQ(text(results[i]), text(train_run(configs[i], {}))) << i;
}

TEST(TrainRun, WhatIsPreparedIsWhatIsTrained) {
  const RunConfig config = small_run(), other = small_run({"seed=2"});
  const auto never = [] { return false; };
  Preparation wrong = prepare_population({config}, 1, "", never);
  wrong.initial_values[config.seed] =
      prepare_population({other}, 1, "", never).initial_values[other.seed];
  wrong.state_bytes = 17;
  const RunResult result = train_population({{&config, {}}}, std::move(wrong))[0];
  EXPECT_EQ(result.state_bytes, 17);
  EXPECT_NE(result.test.loss, train_run(config, {}).test.loss);
}

TEST(TrainRun, APreparationThatIsStoppedIsMadeGood) {
  const RunConfig config = small_run(), other = small_run({"seed=2"});
  const std::string alone = text(train_run(config, {}));
  for (int most = 0; most < 3; ++most) {
    Preparation prepared = prepare_population(
        {config, other}, 1, "", [most, asked = 0]() mutable { return asked++ == most; });
    EXPECT_EQ(prepared.initial_values.size(), static_cast<std::size_t>(most));
    EXPECT_FALSE(prepared.state_bytes.has_value());
    EXPECT_EQ(text(train_population({{&config, {}}, {&other, {}}}, std::move(prepared))[0]), alone);
  }
}

/// 32 blocks of examples: the third question is asked while they are made.
TEST(TrainRun, StoppedWhileItsDataAreMadeItBeginsNothing) {
  const RunConfig config = small_run({"task.train.0.num_examples=65536", "train.max_epochs=1"});
  const TemporaryFolder folder;
  TrainHooks hooks;
  hooks.checkpoint_directory = folder.path();
  hooks.stop_requested = [asked = 0]() mutable { return ++asked == 3; };
  const RunResult result = train_run(config, hooks);
  EXPECT_EQ(result.status, "interrupted");
  EXPECT_EQ(result.reason, "stopped by a signal while its data were made");
  EXPECT_EQ(result.steps, 0);
  EXPECT_TRUE(fs::is_empty(folder.path()));
  const Preparation prepared = prepare_population({config}, 1, "", hooks.stop_requested);
  EXPECT_TRUE(prepared.initial_values.empty());
}

TEST(TrainRun, TimeAheadIsNotCounted) {
  const RunConfig config = small_run();
  RunTiming timing;
  TrainHooks hooks;
  hooks.on_end = [&](const RunResult&, const RunTiming& now) { timing = now; };
  const auto train = [&](double ahead_s) {
    Preparation prepared;
    prepared.began -= std::chrono::seconds(1000);
    prepared.data_s = 600;
    prepared.ahead_s = ahead_s;
    train_population({{&config, hooks}}, std::move(prepared));
    EXPECT_EQ(timing.ahead_s, ahead_s);
    EXPECT_NEAR(timing.setup_s, timing.total_s - timing.data_s - timing.train_s - timing.eval_s,
                1e-6);
    EXPECT_GE(timing.setup_s, 0);
  };
  train(0);  // all of the preparation while the GPU had nobody
  EXPECT_NEAR(timing.total_s, 1000, 100);
  EXPECT_NEAR(timing.data_s, 600, 100);
  train(500);  // it became free while data were made
  EXPECT_NEAR(timing.total_s, 500, 100);
  EXPECT_NEAR(timing.data_s, 100, 50);
  train(1000);
  EXPECT_LT(timing.total_s, 100);
  EXPECT_LT(timing.data_s, 50);
}

TEST(TrainRun, InterruptedAtEveryFewStepsItEndsWithTheSameBits) {
  const RunConfig config = small_run();
  const std::string undisturbed = text(train_run(config, {}));
  for (const int every : {1, 4, 16, 17}) {
    const TemporaryFolder folder;
    RunResult result;
    int processes = 0;
    do {
      int steps = 0;
      TrainHooks hooks;
      hooks.checkpoint_directory = folder.path();
      hooks.stop_requested = [&] { return steps++ == every; };
      result = train_run(config, hooks);
      ASSERT_LT(++processes, 200);
    } while (result.status == "interrupted");
    EXPECT_EQ(text(result), undisturbed) << "stopped after every " << every << " steps";
    EXPECT_GT(processes, 2);
  }
}

TEST(TrainRun, APopulationResumesInOtherPopulations) {
  const std::vector<RunConfig> configs = {small_run(), small_run({"seed=2"}),
                                          small_run({"seed=3"})};
  std::vector<std::string> expected;
  for (const RunConfig& config : configs)
    expected.push_back(text(train_run(config, {})));
  const TemporaryFolder folders[3];
  const auto member = [&](std::size_t i, int stop_after) {
    TrainHooks hooks;
    hooks.checkpoint_directory = folders[i].path();
    hooks.stop_requested = [steps = 0, stop_after]() mutable { return steps++ == stop_after; };
    return TrainMember{&configs[i], hooks};
  };
  EXPECT_EQ(train_population({member(0, 5), member(1, -1)})[1].status, "interrupted");
  EXPECT_EQ(train_population({member(2, 20)})[0].status, "interrupted");
  const auto results = train_population({member(0, -1), member(1, -1), member(2, -1)});
  for (std::size_t i = 0; i < configs.size(); ++i)
    EXPECT_EQ(text(results[i]), expected[i]) << i;
}

TEST(TrainRun, ADamagedCheckpointGivesWayToTheOneBefore) {
  const RunConfig config = small_run();
  const std::string undisturbed = text(train_run(config, {}));
  const TemporaryFolder folder;
  for (int stop = 0; stop < 2; ++stop) {
    int steps = 0;
    TrainHooks hooks;
    hooks.checkpoint_directory = folder.path();
    hooks.stop_requested = [&] { return steps++ == 5; };
    EXPECT_EQ(train_run(config, hooks).status, "interrupted");
  }
  std::ofstream(folder / "checkpoint.safetensors") << "torn";
  TrainHooks hooks;
  hooks.checkpoint_directory = folder.path();
  EXPECT_EQ(text(train_run(config, hooks)), undisturbed);
}

/// As on a full disk, again and again.
TEST(TrainRun, WhoseResultCannotBeWrittenGoesOnFromItsCheckpoint) {
  const RunConfig config = small_run();
  const TemporaryFolder folder;
  TrainHooks hooks;
  hooks.checkpoint_directory = folder.path();
  hooks.stop_requested = [steps = 0]() mutable { return steps++ == 20; };
  EXPECT_EQ(train_run(config, hooks).epochs, 1);
  hooks.stop_requested = nullptr;
  hooks.on_end = [](const RunResult&, const RunTiming&) {
    fail(ErrorKind::io, "test", "no space is left; free some");
  };
  for (int round = 0; round < 3; ++round) {
    std::size_t resumed = 0;
    hooks.on_resume = [&](const std::vector<EpochMetrics>& epochs) { resumed = epochs.size(); };
    if (round == 2) hooks.on_end = nullptr;
    if (round < 2)
      EXPECT_THROW(train_run(config, hooks), Error);
    else
      EXPECT_EQ(text(train_run(config, hooks)), text(train_run(config, {})));
    EXPECT_EQ(resumed, 1U) << round;
  }
  const fs::directory_iterator files(folder.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);  // checkpoint.safetensors
}

TEST(TrainRun, ACheckpointOfAnotherRunIsNotTaken) {
  const TemporaryFolder folder;
  int steps = 0;
  TrainHooks hooks;
  hooks.checkpoint_directory = folder.path();
  hooks.stop_requested = [&] { return steps++ == 5; };
  train_run(small_run({"seed=2"}), hooks);
  hooks.stop_requested = nullptr;
  EXPECT_EQ(text(train_run(small_run(), hooks)), text(train_run(small_run(), {})));
}

// The mixer may be another one by then: half a run of each would be neither's.
TEST(TrainRun, ACheckpointOfAnotherProgramIsNotTaken) {
  const TemporaryFolder folder;
  const std::string path = folder / "checkpoint.safetensors";
  TrainHooks hooks;
  hooks.checkpoint_directory = folder.path();
  hooks.stop_requested = [steps = 0]() mutable { return steps++ == 20; };
  EXPECT_EQ(train_run(small_run(), hooks).epochs, 1);
  hooks.stop_requested = nullptr;
  const std::string kept = read_file(path, 1 << 30), program = code_version();
  ASSERT_NE(kept.find(program), std::string::npos);
  for (const bool other : {true, false}) {
    std::string checkpoint = kept;
    if (other) checkpoint[kept.find(program)] ^= 1;
    std::ofstream(path) << checkpoint;
    std::size_t resumed = 0;
    hooks.on_resume = [&](const std::vector<EpochMetrics>& epochs) { resumed = epochs.size(); };
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(text(train_run(small_run(), hooks)), text(train_run(small_run(), {})));
    const std::string said = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(resumed, other ? 0U : 1U);
    EXPECT_EQ(said.find("is of another program") != std::string::npos, other) << said;
  }
}

TEST(TrainRun, DivergenceIsAResult) {
  const RunResult result = train_run(small_run({"train.lr=1e30", "train.weight_decay=0"}), {});
  EXPECT_EQ(result.status, "diverged");
  EXPECT_NE(result.reason.find("step"), std::string::npos);
  EXPECT_TRUE(std::isnan(result.test.accuracy));
}

TEST(TrainRun, TheRateFollowsTheCosinePerEpoch) {
  std::vector<double> rates;
  TrainHooks hooks;
  hooks.on_epoch = [&](const EpochMetrics& epoch) { rates.push_back(epoch.lr); };
  train_run(small_run(), hooks);
  ASSERT_EQ(rates.size(), 3u);
  EXPECT_DOUBLE_EQ(rates[0], 1e-2);
  EXPECT_NEAR(rates[1], 0.75e-2, 1e-15);
  EXPECT_NEAR(rates[2], 0.25e-2, 1e-15);
}

TEST(TrainRun, StopsEarlyOnceBetterThanTheThreshold) {
  const RunResult result = train_run(
      small_run({"train.early_stopping.metric=accuracy", "train.early_stopping.threshold=0.0"}),
      {});
  EXPECT_EQ(result.reason, "early_stopping");
  EXPECT_EQ(result.epochs, 1);
}

}  // namespace
}  // namespace recallbench
