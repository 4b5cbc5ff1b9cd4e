#include <signal.h>
#include <sys/stat.h>

#include <chrono>

#include "sweeps/run/exit_code.h"
#include "sweeps/run/running.h"
#include "tests/sweeps/run_sweep_support.h"

namespace recallbench {
namespace {

namespace fs = std::filesystem;

std::string only_run_folder(const std::string& results) {
  return fs::directory_iterator(results + "/runs")->path().string();
}

TEST_F(FakeSweep, FinishedFolderTrainsNothing) {
  const Environment environment = {{"FAKE_TRACE", trace_}};
  EXPECT_EQ(sweep(results_, 3, environment).code, 0);
  const std::string before = file_text(trace_);
  const auto summary_time = fs::last_write_time(results_ + "/summary.csv");
  const Ended again = sweep(results_, 3, environment);
  EXPECT_EQ(again.code, 0);
  EXPECT_TRUE(contains(again.out, "done 3 already 3 failed 0")) << again.out;
  EXPECT_EQ(file_text(trace_), before);
  EXPECT_EQ(fs::last_write_time(results_ + "/summary.csv"), summary_time);
}

TEST_F(FakeSweep, LargerRequestTrainsOnlyWhatIsNewSmallerOneSelects) {
  EXPECT_EQ(sweep(results_, 3).code, 0);
  const Ended larger = sweep(results_, 6);
  EXPECT_TRUE(contains(larger.out, "done 6 already 3 failed 0")) << larger.out;
  EXPECT_EQ(contents(results_), undisturbed(6));
  const Ended smaller = sweep(results_, 2);
  EXPECT_TRUE(contains(smaller.out, "done 2 already 2 failed 0")) << smaller.out;
  auto expected = undisturbed(6);
  expected["summary.csv"] = undisturbed(2)["summary.csv"];
  EXPECT_EQ(contents(results_), expected);
}

// Seeds alone differ within the two widths: two shapes of at most three runs each.
TEST_F(FakeSweep, RunsOfOneShapeShareAProcessWithTheSameResults) {
  const Environment environment = {{"FAKE_TRACE", trace_}, {"FAKE_POPULATION", "3"}};
  EXPECT_EQ(sweep(results_, 8, environment).code, 0);
  EXPECT_EQ(contents(results_), undisturbed(8));
  const auto lines = trace_lines(trace_);
  EXPECT_EQ(lines.at("together 3"), 2) << file_text(trace_);  // of six runs of width 64
  EXPECT_EQ(lines.at("together 2"), 1) << file_text(trace_);  // and two of width 32
}

// A GPU's driver has threads in the sweep's process: a signal that one of them takes never arrives.
// What it said is then seen by the next line of progress, 30 s later, if by nothing else.
TEST_F(FakeSweep, EndsOfRunsAreSeenThoughOtherThreadsTakeTheSignals) {
  const auto begin = std::chrono::steady_clock::now();
  const Ended ended = sweep(results_, 24, {{"FAKE_THREADS", "8"}}, 1);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(25));
  EXPECT_EQ(contents(results_), undisturbed(24));
}

TEST_F(FakeSweep, ACrashCostsThePopulationsTimeAndTheCulpritsResultAlone) {
  const Ended ended = sweep(results_, 8, {{"FAKE_POPULATION", "8"}, {"FAKE_CRASH_SEED", "4"}});
  EXPECT_EQ(ended.code, 1);
  EXPECT_TRUE(contains(ended.out, "done 7 already 0 failed 1")) << ended.out;
  EXPECT_TRUE(contains(ended.err, "tried one by one")) << ended.err;
  EXPECT_EQ(sweep(results_, 8).code, 0);
  EXPECT_EQ(contents(results_), undisturbed(8));
}

TEST_F(FakeSweep, TwoAtOnceShareTheRuns) {
  constexpr int kRuns = 8;
  const auto expected = undisturbed(kRuns);
  for (int round = 0; round < 3; ++round) {
    const std::string results = folder_ / std::to_string(round);
    const std::string trace = trace_ + std::to_string(round);
    ProcessOptions options;
    options.environment = {{"FAKE_STEP_US", "1000"}, {"FAKE_TRACE", trace}};
    Process first(command(results, kRuns), options), second(command(results, kRuns), options);
    const Ended a = first.wait(), b = second.wait();
    EXPECT_EQ(a.code, 0) << a.err;
    EXPECT_EQ(b.code, 0) << b.err;
    EXPECT_EQ(contents(results), expected);
    const auto lines = trace_lines(trace);
    EXPECT_EQ(lines.size(), std::size_t{kRuns}) << file_text(trace);
    for (const auto& [line, times] : lines)
      EXPECT_EQ(times, 1) << line;
  }
}

TEST_F(FakeSweep, RunOfADeadProcessIsTakenOver) {
  ProcessOptions slow;
  slow.environment = {{"FAKE_STEP_US", "50000"}};
  Process first(command(results_, 1), slow);
  ASSERT_TRUE(eventually([&] { return !first.children().empty(); }));
  const pid_t worker = first.children().at(0);
  ASSERT_TRUE(eventually([&] { return a_run_has(results_, ".lock"); }));
  Process second(command(results_, 1), {});
  kill(worker, SIGKILL);
  EXPECT_EQ(first.wait().code, 1);
  const Ended ended = second.wait();
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(contents(results_), undisturbed(1));
}

TEST_F(FakeSweep, FailedRunsAreRecordedAndRetried) {
  const Ended failed = sweep(results_, 4, {{"FAKE_CRASH_SEED", "2"}, {"FAKE_EXIT_SEED", "3"}});
  EXPECT_EQ(failed.code, 1);
  EXPECT_TRUE(contains(failed.out, "done 2 already 0 failed 2")) << failed.out;
  EXPECT_TRUE(contains(failed.err, "killed by SIGSEGV: about to")) << failed.err;
  EXPECT_TRUE(contains(failed.err, "ended with exit code 2: [fake] this seed is refused"));
  const std::string summary = file_text(results_ + "/summary.csv");
  EXPECT_TRUE(contains(summary, "failed,killed by SIGSEGV")) << summary;
  const Ended retried = sweep(results_, 4);
  EXPECT_EQ(retried.code, 0) << retried.err;
  EXPECT_TRUE(contains(retried.out, "done 4 already 2 failed 0")) << retried.out;
  EXPECT_EQ(contents(results_), undisturbed(4));
  for (const auto& run : fs::directory_iterator(results_ + "/runs"))
    EXPECT_FALSE(fs::exists(run.path() / "failure.json"));
}

TEST_F(FakeSweep, DivergedRunIsAResultThatStays) {
  const Ended first = sweep(results_, 2, {{"FAKE_NAN_SEED", "2"}});
  EXPECT_EQ(first.code, 0) << first.err;
  const std::string summary = file_text(results_ + "/summary.csv");
  EXPECT_TRUE(contains(summary, "diverged,loss is nan at step 17")) << summary;
  const Ended again = sweep(results_, 2);
  EXPECT_TRUE(contains(again.out, "done 2 already 2 failed 0")) << again.out;
}

TEST_F(FakeSweep, RunTimeoutFailsTheRunAndKeepsItsCheckpoint) {
  ProcessOptions slow;
  slow.environment = {{"FAKE_STEP_US", "1000000"}};
  const Ended ended = run_program(command(results_, 1, 1, "0.5"), slow);
  EXPECT_EQ(ended.code, 1);
  EXPECT_TRUE(contains(ended.err, "ran longer than --run-timeout 0.5 s")) << ended.err;
  EXPECT_TRUE(fs::exists(only_run_folder(results_) + "/checkpoint.safetensors"));
  EXPECT_EQ(sweep(results_, 1).code, 0);
  EXPECT_EQ(contents(results_), undisturbed(1));
}

TEST_F(FakeSweep, LoneRunTakesAllCoresAndGivesTheSameBits) {
  EXPECT_EQ(sweep(results_, 1, {}, 4).code, 0);
  EXPECT_TRUE(contains(file_text(only_run_folder(results_) + "/timing.json"), "\"threads\": 4"));
  EXPECT_EQ(contents(results_), undisturbed(1));
}

TEST_F(FakeSweep, NoEscapesAndNoReturnsWithoutATerminal) {
  const Ended ended = sweep(results_, 4, {{"FAKE_CRASH_SEED", "2"}, {"TERM", "xterm-256color"}});
  EXPECT_EQ(ended.code, 1);
  EXPECT_TRUE(contains(ended.err, "[4/4]")) << ended.err;
  for (const char bad : {'\x1b', '\r', '\b'}) {
    EXPECT_EQ(ended.err.find(bad), std::string::npos);
    EXPECT_EQ(ended.out.find(bad), std::string::npos);
  }
}

TEST_F(FakeSweep, LeftoversOfDeadWritersGo) {
  EXPECT_EQ(sweep(results_, 1, {{"FAKE_CRASH_SEED", "1"}}).code, 1);
  const std::string torn = only_run_folder(results_) + "/.result.json.tmp.4000000";
  write_text(torn, "{\"schema\":");
  write_text(results_ + "/.manifest.json.tmp.4000000", "{");
  EXPECT_EQ(sweep(results_, 1).code, 0);
  EXPECT_EQ(leftovers(results_), std::vector<std::string>());
  EXPECT_EQ(contents(results_), undisturbed(1));
}

TEST_F(FakeSweep, UnreadableResultIsNamedAndKeptAndTheOthersGoOn) {
  EXPECT_EQ(sweep(results_, 1).code, 0);
  const std::string path = only_run_folder(results_) + "/result.json";
  const std::string torn = file_text(path).substr(0, 200);
  write_text(path, torn);
  const Ended ended = sweep(results_, 3);
  EXPECT_EQ(ended.code, 1) << ended.err;
  EXPECT_TRUE(contains(ended.out, "done 2 already 0 failed 1")) << ended.out;
  EXPECT_TRUE(contains(ended.out, "unreadable: odd")) << ended.out;
  EXPECT_TRUE(contains(ended.out, path)) << ended.out;
  EXPECT_TRUE(contains(ended.out, "delete this file to train the run again")) << ended.out;
  EXPECT_EQ(file_text(path), torn);
  const std::string summary = file_text(results_ + "/summary.csv");
  EXPECT_TRUE(contains(summary, "failed,") && contains(summary, "delete this file")) << summary;
  EXPECT_EQ(sweep(results_, 3).code, 1);
  fs::remove(path);
  EXPECT_EQ(sweep(results_, 3).code, 0);
  EXPECT_EQ(contents(results_), undisturbed(3));
}

TEST_F(FakeSweep, ResultThatIsTornAsSoonAsItIsThereStopsNobodyElse) {
  for (const std::string most : {"1", "8"}) {
    const std::string results = folder_ / most;
    const Ended ended = sweep(results, 3, {{"FAKE_TORN_SEED", "2"}, {"FAKE_POPULATION", most}});
    EXPECT_EQ(ended.code, 1) << ended.err;
    EXPECT_TRUE(contains(ended.out, "done 2 already 0 failed 1")) << ended.out << ended.err;
    EXPECT_TRUE(contains(ended.out, "unreadable: even")) << ended.out << ended.err;
  }
}

TEST_F(FakeSweep, FolderThatCannotBeWrittenIsExit3BeforeAnyTraining) {
  write_text(folder_ / "file", "");
  for (const std::string& results : {folder_ / "file", folder_ / "file/below"}) {
    const Ended ended = sweep(results, 2, {{"FAKE_TRACE", trace_}});
    EXPECT_EQ(ended.code, 3) << ended.err;
    EXPECT_TRUE(contains(ended.err, folder_ / "file")) << ended.err;
  }
  EXPECT_FALSE(fs::exists(trace_));
}

TEST_F(FakeSweep, ReadOnlyFolderIsExit3) {
  if (geteuid() == 0) GTEST_SKIP() << "the superuser may write everywhere";
  fs::create_directory(results_);
  chmod(results_.c_str(), 0555);
  EXPECT_EQ(sweep(results_, 2).code, 3);
}

TEST_F(FakeSweep, FileSizeLimitIsExit3AndLosesNothing) {
  ProcessOptions limited;
  limited.file_size_limit = 1024;
  const Ended manifest = run_program(command(results_, 2), limited);  // too large
  EXPECT_EQ(manifest.code, 3) << manifest.err;
  EXPECT_TRUE(contains(manifest.err, "manifest.json")) << manifest.err;

  EXPECT_EQ(sweep(results_, 2, {{"FAKE_CRASH_SEED", "1"}, {"FAKE_EXIT_SEED", "2"}}).code, 1);
  const Ended result = run_program(command(results_, 2), limited);
  EXPECT_EQ(result.code, 3) << result.err;
  EXPECT_TRUE(contains(result.err, "result.json")) << result.err;
  EXPECT_EQ(leftovers(results_), std::vector<std::string>());
  EXPECT_EQ(sweep(results_, 2).code, 0);
  EXPECT_EQ(contents(results_), undisturbed(2));
}

TEST(FailureReason, SaysWhatAFullDiskKeepsOutOfTheLog) {
  const TemporaryFolder folder;
  Running running;
  running.log = folder / "run.log";
  const auto reason = [&] { return failure_reason(running, {kResults, 0}, 0); };
  EXPECT_EQ(reason(), "ended with exit code 3: results cannot be read or written");
  write_text(running.log, "cannot write 'x'\n");
  EXPECT_EQ(reason(), "ended with exit code 3: cannot write 'x'");
}

/// Every kind of system call of the driver and its workers, failing once at its n-th occurrence.
TEST_F(FakeSweep, InjectedFaultsLoseNothing) {
  if (run_program({"strace", "-o", "/dev/null", "true"}).code != 0)
    GTEST_SKIP() << "strace is not there, or may not trace";
  const auto expected = undisturbed(2);
  int hit = 0;
  for (const std::string fault : {"fsync:error=EIO", "rename:error=EROFS", "write:error=ENOSPC"}) {
    for (int n = 1; n <= 5; ++n) {
      const std::string results = folder_ / (fault + std::to_string(n));
      // LeakSanitizer does not work where something else traces.
      std::vector<std::string> words = {"strace",
                                        "-E",
                                        "ASAN_OPTIONS=detect_leaks=0",
                                        "-f",
                                        "-qq",
                                        "-o",
                                        "/dev/null",
                                        "-e",
                                        "trace=" + fault.substr(0, fault.find(':')),
                                        "-e",
                                        "inject=" + fault + ":when=" + std::to_string(n)};
      for (const std::string& word : command(results, 2, 1))
        words.push_back(word);
      const Ended ended = run_program(words);
      EXPECT_TRUE(ended.code == 0 || ended.code == 3)
          << fault << n << ": " << ended.code << ended.err;
      hit += ended.code == 3 ? 1 : 0;
      const Ended after = sweep(results, 2);
      EXPECT_EQ(after.code, 0) << fault << n << ": " << after.err;
      EXPECT_EQ(contents(results), expected) << fault << n;
      EXPECT_EQ(leftovers(results), std::vector<std::string>()) << fault << n;
    }
  }
#if defined(__SANITIZE_ADDRESS__)
  constexpr int kLeast = 6;  // some of its own calls are hit
#else
  constexpr int kLeast = 8;
#endif
  EXPECT_GE(hit, kLeast);  // of 15: the others meet calls whose failure does not matter
}

}  // namespace
}  // namespace recallbench
