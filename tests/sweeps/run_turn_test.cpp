// Children of a GPU: one trains, the next prepares itself and waits for its turn.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "sweeps/run/signals.h"
#include "sweeps/run/turn.h"
#include "tests/sweeps/run_sweep_support.h"

namespace recallbench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

class FakeGpuSweep : public FakeSweep {
 protected:
  /// A sweep of runs on GPUs that take 40 steps, each by itself.
  Environment on_gpus(int gpus, int step_us = 2000) const {
    return {{"FAKE_GPUS", std::to_string(gpus)},
            {"FAKE_TRACE", trace_},
            {"FAKE_STEP_US", std::to_string(step_us)}};
  }

  Environment with(Environment environment, const std::string& key, const std::string& value) {
    environment[key] = value;
    return environment;
  }

  std::vector<std::string> lines() const {
    std::vector<std::string> all;
    std::istringstream text(file_text(trace_));
    for (std::string line; std::getline(text, line);)
      all.push_back(line);
    return all;
  }

  /// What the lines that begin with `word` go on with, in their order.
  std::vector<std::string> ids(const std::string& word) const {
    std::vector<std::string> found;
    for (const std::string& line : lines())
      if (line.starts_with(word + " ")) found.push_back(line.substr(word.size() + 1));
    return found;
  }

  /// Where the line stands; the number of lines where it does not.
  std::size_t place(const std::string& line) const {
    const auto all = lines();
    return static_cast<std::size_t>(std::find(all.begin(), all.end(), line) - all.begin());
  }

  bool one_waits() const { return ids("begins").size() == 1 && ids("prepared").size() == 2; }

  static bool is_gone(pid_t process) {
    const std::string status = file_text("/proc/" + std::to_string(process) + "/stat");
    return status.empty() || contains(status, ") Z ");
  }
};

TEST_F(FakeGpuSweep, TheNextPreparesWhileOneTrainsAndBeginsWhenItHasEnded) {
  EXPECT_EQ(sweep(results_, 3, on_gpus(1, 50000)).code, 0);
  const auto order = ids("begins");
  ASSERT_EQ(order.size(), 3U) << file_text(trace_);
  EXPECT_EQ(ids("ends"), order);
  for (std::size_t i = 0; i + 1 < order.size(); ++i) {
    EXPECT_LT(place("prepared " + order[i + 1]), place("ends " + order[i]));
    EXPECT_GT(place("begins " + order[i + 1]), place("ends " + order[i]));
  }
  EXPECT_GT(place("prepared " + order[2]), place("ends " + order[0])) << "one at a time";
  EXPECT_TRUE(ids("crowded").empty());
  EXPECT_EQ(contents(results_), undisturbed(3));
}

TEST_F(FakeGpuSweep, TimeAheadIsToldApart) {
  EXPECT_EQ(sweep(results_, 2, on_gpus(1, 20000)).code, 0);
  std::vector<double> ahead;
  for (const auto& run : fs::directory_iterator(results_ + "/runs")) {
    const std::string text = file_text((run.path() / "timing.json").string());
    const std::string key = "\"ahead_s\": ";
    ASSERT_TRUE(contains(text, key)) << text;
    ahead.push_back(std::stod(text.substr(text.find(key) + key.size())));
  }
  std::sort(ahead.begin(), ahead.end());
  EXPECT_LT(ahead[0], 0.1);  // nobody had the GPU
  EXPECT_GT(ahead[1], 0.1);  // of 40 steps of 20 ms
}

TEST_F(FakeGpuSweep, ProgressShowsTheOneThatTrains) {
  const Environment bars = with(on_gpus(1, 10000), "RECALLBENCH_PROGRESS", "bar");
  const Ended ended = sweep(results_, 3, with(bars, "FAKE_LINGER_US", "300000"));
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(contains(ended.err, ", 1 running, 2 left")) << ended.err;
  EXPECT_FALSE(contains(ended.err, "2 running")) << ended.err;
  EXPECT_FALSE(contains(ended.err, "\x1b[3A")) << ended.err;  // a bar and the counts, no more
}

TEST_F(FakeGpuSweep, ProgressCountsTheRunsOfAPopulation) {
  const Environment bars = with(on_gpus(1, 2000), "RECALLBENCH_PROGRESS", "bar");
  const Ended ended = sweep(results_, 8, with(bars, "FAKE_POPULATION", "8"));  // of 6 and of 2
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_TRUE(contains(ended.err, "0/8 runs done, 0 failed, 6 running, 2 left")) << ended.err;
  EXPECT_TRUE(contains(ended.err, "6/8 runs done, 0 failed, 2 running, 0 left")) << ended.err;
}

TEST_F(FakeGpuSweep, EachGpuHasItsOwnTurns) {
  EXPECT_EQ(sweep(results_, 6, on_gpus(2)).code, 0);
  EXPECT_TRUE(ids("crowded").empty());
  EXPECT_EQ(ids("begins").size(), 6U);
  EXPECT_EQ(contents(results_), undisturbed(6));
}

TEST_F(FakeGpuSweep, AChildThatNeedsItsGpuNoLongerIsNotWaitedFor) {
  EXPECT_EQ(sweep(results_, 2, with(on_gpus(1), "FAKE_LINGER_US", "1000000")).code, 0);
  const auto order = ids("begins");
  ASSERT_EQ(order.size(), 2U);
  EXPECT_LT(place("begins " + order[1]), place("gone " + order[0])) << file_text(trace_);
}

TEST_F(FakeGpuSweep, WaitingIsNoTimeOfTheRun) {
  ProcessOptions options;
  options.environment = on_gpus(1, 25000);  // 1 s a run, 2 s with the wait
  const Ended ended = run_program(command(results_, 3, 2, "1.7"), options);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(contents(results_), undisturbed(3));
}

TEST_F(FakeGpuSweep, ARunThatHangsInItsTurnIsStopped) {
  ProcessOptions options;
  options.environment = with(on_gpus(1, 8000), "FAKE_SLOW_SEED", "2");  // 1.6 s
  const Ended ended = run_program(command(results_, 3, 2, "1"), options);
  EXPECT_EQ(ended.code, 1);
  EXPECT_TRUE(contains(ended.err, "ran longer than --run-timeout 1 s")) << ended.err;
  EXPECT_TRUE(contains(ended.out, "done 2 already 0 failed 1")) << ended.out;
}

TEST_F(FakeGpuSweep, SignalsStopTheOneThatWaitsAtOnce) {
  ProcessOptions options;
  options.environment = on_gpus(1, 40000);
  Process driver(command(results_, 3), options);
  ASSERT_TRUE(eventually([&] { return one_waits(); }));
  driver.send(SIGTERM);
  const auto sent = Clock::now();
  const Ended ended = driver.wait();
  EXPECT_LT(Clock::now() - sent, std::chrono::milliseconds(800));  // of 1.6 s that the run takes
  EXPECT_EQ(ended.code, 75) << ended.err;
  EXPECT_TRUE(contains(ended.err, "saving 1 running run;")) << ended.err;
  EXPECT_EQ(ids("begins").size(), 1U);
  EXPECT_EQ(sweep(results_, 3, on_gpus(1)).code, 0);
  EXPECT_EQ(contents(results_), undisturbed(3));
  for (const auto& run : fs::directory_iterator(results_ + "/runs"))
    EXPECT_FALSE(fs::exists(run.path() / "failure.json"));
}

TEST_F(FakeGpuSweep, SignalsDoNotWaitForThePreparationOfTheNext) {
  ProcessOptions options;
  options.environment = with(on_gpus(1, 200000), "FAKE_DEAF_SEED", "2");
  Process driver(command(results_, 2), options);
  ASSERT_TRUE(eventually([&] { return ids("begins").size() == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // of 8 s; the other is deaf by now
  driver.send(SIGTERM);
  const auto sent = Clock::now();
  EXPECT_EQ(driver.wait().code, 75);
  EXPECT_LT(Clock::now() - sent, std::chrono::seconds(20));
  EXPECT_EQ(sweep(results_, 2, on_gpus(1)).code, 0);
  EXPECT_EQ(contents(results_), undisturbed(2));
}

TEST_F(FakeGpuSweep, TheOneThatWaitsEndsWithItsDriver) {
  ProcessOptions options;
  options.environment = on_gpus(1, 40000);
  Process driver(command(results_, 2), options);
  ASSERT_TRUE(eventually([&] { return one_waits(); }));
  const std::vector<pid_t> workers = driver.children();
  ASSERT_EQ(workers.size(), 2U);
  driver.send(SIGKILL);
  EXPECT_EQ(driver.wait().signal, SIGKILL);
  for (const pid_t worker : workers)
    EXPECT_TRUE(eventually([&] { return is_gone(worker); }));
  EXPECT_EQ(ids("begins").size(), 1U);
}

/// Whatever ends the child whose turn it is, the next has it.
TEST_F(FakeGpuSweep, TurnsPassOnHoweverTheyEnd) {
  for (const std::string ill : {"FAKE_CRASH_SEED", "FAKE_EXIT_SEED", "FAKE_NAN_SEED"}) {
    fs::remove(trace_);
    const std::string results = folder_ / ill;
    const Ended ended = sweep(results, 4, with(on_gpus(1), ill, "2"));
    EXPECT_EQ(ended.code, ill == "FAKE_NAN_SEED" ? 0 : 1) << ill << ended.err;
    EXPECT_EQ(ids("begins").size(), 4U) << ill;
    EXPECT_TRUE(ids("crowded").empty()) << ill;
  }
}

TEST_F(FakeGpuSweep, KilledInTheirTurnsAndBeforeNothingIsLost) {
  constexpr int kRuns = 4;
  const auto expected = undisturbed(kRuns);
  std::mt19937 random(1);
  for (int round = 0; round < 10; ++round) {
    const std::string results = folder_ / std::to_string(round);
    ProcessOptions options;
    options.environment = on_gpus(1, 500);
    Process driver(command(results, kRuns), options);
    ASSERT_TRUE(eventually([&] { return !driver.children().empty(); }));
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 60));
    const auto children = driver.children();
    if (!children.empty()) kill(children[random() % children.size()], SIGKILL);
    const Ended first = driver.wait();
    ASSERT_TRUE(first.code == 0 || first.code == 1) << first.code << first.err;
    ASSERT_EQ(run_program(command(results, kRuns), options).code, 0);
    EXPECT_EQ(contents(results), expected) << "round " << round;
  }
  EXPECT_TRUE(ids("crowded").empty());
  EXPECT_EQ(overlaps(trace_), 0);
}

TEST_F(FakeGpuSweep, WhoDiesAheadOfItsTurnStartsAgainOnAFreeGpu) {
  // The third, which prepares long after the second has begun: the first two start together.
  const Environment large = with(on_gpus(1, 20000), "FAKE_LARGE_SEED", "3");
  const Ended ended = sweep(results_, 3, with(large, "FAKE_PREPARE_US", "200000"));
  EXPECT_EQ(ended.code, 0) << ended.err;
  const std::string note = "is started again when its GPU is free: killed by SIGSEGV";
  const std::size_t first = ended.err.find(note);
  ASSERT_NE(first, std::string::npos) << ended.err;
  EXPECT_EQ(ended.err.find(note, first + 1), std::string::npos) << ended.err;
  EXPECT_EQ(contents(results_), undisturbed(3));
}

/// Its driver gives the turn to one that has died for it, and cannot know yet.
TEST_F(FakeGpuSweep, WhoDiesAsItsTurnComesStartsAgainOnAFreeGpu) {
  const Ended ended = sweep(results_, 2, with(on_gpus(1, 40000), "FAKE_DYING_SEED", "2"));
  EXPECT_EQ(ended.code, 0) << ended.err;
  const std::string note = "is started again when its GPU is free: killed by SIGSEGV";
  const std::size_t first = ended.err.find(note);
  ASSERT_NE(first, std::string::npos) << ended.err;
  EXPECT_EQ(ended.err.find(note, first + 1), std::string::npos) << ended.err;
  EXPECT_EQ(contents(results_), undisturbed(2));
}

TEST_F(FakeGpuSweep, WhoDiesInItsPreparationAlwaysFailsAlone) {
  for (const std::string most : {"1", "8"}) {
    const std::string results = folder_ / most;
    const Ended ended = sweep(
        results, 8, with(with(on_gpus(1, 100), "FAKE_ILL_SEED", "4"), "FAKE_POPULATION", most));
    EXPECT_EQ(ended.code, 1) << ended.err;
    EXPECT_TRUE(contains(ended.out, "done 7 already 0 failed 1")) << ended.out << ended.err;
    EXPECT_TRUE(contains(file_text(results + "/summary.csv"), "failed,killed by SIGSEGV"));
    EXPECT_EQ(sweep(results, 8).code, 0);
    EXPECT_EQ(contents(results), undisturbed(8));
  }
}

/// The last run waits for the GPU of a long one, while the other GPU has nothing to do.
TEST_F(FakeGpuSweep, NoGpuIsIdleWhileARunWaitsForAnother) {
  // By length: runs 1 and 2 (width 64) begin, run 3 (width 32) waits for the GPU of the first.
  const Ended ended = sweep(results_, 3, with(on_gpus(2, 20000), "FAKE_SLOW_SEED", "1"));
  EXPECT_EQ(ended.code, 0) << ended.err;
  const auto begun = ids("begins"), over = ids("ends");
  ASSERT_EQ(over.size(), 3U);
  EXPECT_EQ(ids("prepared").size(), 4U) << file_text(trace_);
  EXPECT_EQ(over.back(), begun.front() == over.front() ? begun[1] : begun[0]);
  EXPECT_FALSE(contains(ended.err, "started again")) << ended.err;
  EXPECT_EQ(contents(results_), undisturbed(3));
}

/// One that hangs in its preparation is no reason either: recalled, it has a turn that can time
/// out.
TEST_F(FakeGpuSweep, NoGpuIsIdleWhileARunPreparesForAnother) {
  const Environment slow = with(on_gpus(2, 30000), "FAKE_SLOW_SEED", "1");
  const auto begin = Clock::now();
  const Ended ended = sweep(results_, 3, with(slow, "FAKE_DEAF_SEED", "3"));
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(30));
  EXPECT_EQ(ids("prepared").size(), 3U) << file_text(trace_);
  EXPECT_EQ(contents(results_), undisturbed(3));
}

TEST_F(FakeGpuSweep, TwoAtOnceShareTheRuns) {
  ProcessOptions options;
  options.environment = on_gpus(1);
  options.environment["FAKE_TRACE"] = trace_ + "1";
  Process first(command(results_, 8), options);
  options.environment["FAKE_TRACE"] = trace_ + "2";  // a GPU of its own
  Process second(command(results_, 8), options);
  const Ended a = first.wait(), b = second.wait();
  EXPECT_EQ(a.code, 0) << a.err;
  EXPECT_EQ(b.code, 0) << b.err;
  EXPECT_EQ(contents(results_), undisturbed(8));
  int trained = 0;
  for (const std::string& trace : {trace_ + "1", trace_ + "2"})
    for (const auto& [line, times] : trace_lines(trace))
      trained += line.starts_with("trained ") ? times : 0;
  EXPECT_EQ(trained, 8);
}

TEST(Turn, ComesOrDoesNot) {
  const auto never = [] { return false; };
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  FileDescriptor waiting(ends[0]), giving(ends[1]);
  EXPECT_FALSE(wait_for_turn(waiting.get(), [] { return true; }).has_value());
  EXPECT_TRUE(give_turn(giving));
  EXPECT_FALSE(giving.is_open());
  EXPECT_GT(wait_for_turn(waiting.get(), never).value(), 0);
  EXPECT_FALSE(wait_for_turn(waiting.get(), never).has_value());  // the giver has gone
}

TEST(Turn, IsNotGivenToOneThatHasEnded) {
  prepare_signals();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  FileDescriptor waiting(ends[0]), giving(ends[1]);
  waiting.close();
  EXPECT_FALSE(give_turn(giving));
  EXPECT_FALSE(give_turn(giving)) << "until its end is seen";
}

}  // namespace
}  // namespace recallbench
