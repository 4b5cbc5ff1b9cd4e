#include <signal.h>
#include <unistd.h>

#include <random>

#include "tests/sweeps/run_sweep_support.h"

namespace recallbench {
namespace {

namespace fs = std::filesystem;

void pause_ms(int milliseconds) {
  const timespec pause{milliseconds / 1000, (milliseconds % 1000) * 1'000'000L};
  nanosleep(&pause, nullptr);
}

TEST_F(FakeSweep, KilledDriverResumesWithTheSameBytes) {
  constexpr int kRuns = 5, kRounds = 12, kKills = 3;
  const auto expected = undisturbed(kRuns);
  ASSERT_EQ(expected.size(), 2u * kRuns + 1);
  std::mt19937 random(1);
  int killed = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string results = folder_ / std::to_string(round);
    ProcessOptions options;
    options.environment = {{"FAKE_STEP_US", "400"}, {"FAKE_TRACE", trace_}};
    for (int i = 0; i < kKills; ++i) {
      Process driver(command(results, kRuns), options);
      pause_ms(static_cast<int>(random() % 80));
      driver.send(SIGKILL);
      killed += driver.wait().signal == SIGKILL ? 1 : 0;
    }
    const Ended ended = run_program(command(results, kRuns), options);
    ASSERT_EQ(ended.code, 0) << ended.err;
    EXPECT_EQ(contents(results), expected) << "round " << round;
    EXPECT_EQ(leftovers(results), std::vector<std::string>());
  }
  EXPECT_EQ(overlaps(trace_), 0);
  EXPECT_GE(killed, kRounds);
}

TEST_F(FakeSweep, KilledWorkersAreFailedRunsThatResume) {
  constexpr int kRuns = 5, kRounds = 8;
  const auto expected = undisturbed(kRuns);
  std::mt19937 random(2);
  int killed = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string results = folder_ / std::to_string(round);
    ProcessOptions options;
    options.environment = {{"FAKE_STEP_US", "500"}, {"FAKE_TRACE", trace_}};
    Process driver(command(results, kRuns), options);
    ASSERT_TRUE(eventually([&] { return !driver.children().empty(); }));
    pause_ms(static_cast<int>(random() % 20));
    for (const pid_t child : driver.children())
      kill(child, SIGKILL);
    const Ended first = driver.wait();
    ASSERT_TRUE(first.code == 0 || first.code == 1) << first.code << first.err;
    if (first.code == 1) {
      ++killed;
      EXPECT_NE(first.err.find("killed by SIGKILL"), std::string::npos) << first.err;
      EXPECT_NE(file_text(results + "/summary.csv").find("killed by SIGKILL"), std::string::npos);
    }
    const Ended second = run_program(command(results, kRuns), options);
    ASSERT_EQ(second.code, 0) << second.err;
    EXPECT_EQ(contents(results), expected) << "round " << round;
    EXPECT_EQ(leftovers(results), std::vector<std::string>());
  }
  EXPECT_EQ(overlaps(trace_), 0);
  EXPECT_GE(killed, 1);
}

TEST_F(FakeSweep, WorkersStopWhenTheirDriverIsKilled) {
  ProcessOptions options;
  options.environment = {{"FAKE_STEP_US", "20000"}};
  Process driver(command(results_, 4), options);
  ASSERT_TRUE(eventually([&] { return driver.children().size() == 2; }));
  const std::vector<pid_t> workers = driver.children();
  driver.send(SIGKILL);
  EXPECT_EQ(driver.wait().signal, SIGKILL);
  // They are no children of this process, so that a dead one may stay as a zombie.
  for (const pid_t worker : workers)
    EXPECT_TRUE(eventually([&] {
      const std::string status = file_text("/proc/" + std::to_string(worker) + "/stat");
      return status.empty() || status.find(") Z ") != std::string::npos;
    }));
  EXPECT_EQ(sweep(results_, 4).code, 0);
  EXPECT_EQ(contents(results_), undisturbed(4));
}

TEST_F(FakeSweep, SignalsSaveAndExit75) {
  const auto expected = undisturbed(4);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    const std::string results = folder_ / std::to_string(signal);
    ProcessOptions options;
    options.environment = {{"FAKE_STEP_US", "5000"}};
    Process driver(command(results, 4), options);
    ASSERT_TRUE(eventually([&] { return !driver.children().empty(); }));
    driver.send(signal);
    driver.send(signal);  // at once: as where a whole process group is signalled
    const Ended ended = driver.wait();
    EXPECT_EQ(ended.code, 75) << signal << ended.err;
    EXPECT_EQ(sweep(results, 4).code, 0);
    EXPECT_EQ(contents(results), expected);
  }
}

/// A second signal that comes while the sweep ends is none that kills it.
TEST_F(FakeSweep, SignalsWhileItEndsChangeNothing) {
  for (int round = 0; round < 20; ++round) {
    Process driver(command(folder_ / std::to_string(round), 1), {});
    ASSERT_TRUE(eventually([&] { return !driver.children().empty(); }));
    driver.send(SIGTERM);
    for (int i = 0; i < 40; ++i) {
      driver.send(i % 2 == 0 ? SIGHUP : SIGINT);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const Ended ended = driver.wait();
    EXPECT_EQ(ended.code, 75) << ended.signal << ended.err;
  }
}

/// Such as a shell's pipe, whose reader would wait for children that outlive their driver.
TEST_F(FakeSweep, ChildrenHoldNoDescriptorOfWhoeverStartedTheSweep) {
  constexpr int kForeign = 150;  // above those that a test's process closes
  ASSERT_EQ(dup2(STDERR_FILENO, kForeign), kForeign);
  ProcessOptions options;
  options.environment = {{"FAKE_STEP_US", "40000"}};
  Process driver(command(results_, 1), options);
  close(kForeign);
  ASSERT_TRUE(eventually([&] { return a_run_has(results_, "metrics.jsonl"); }));
  const auto held = [](pid_t process) {
    return fs::exists(
        fs::symlink_status("/proc/" + std::to_string(process) + "/fd/" + std::to_string(kForeign)));
  };
  ASSERT_EQ(driver.children().size(), 1U);
  EXPECT_TRUE(held(driver.pid()));
  EXPECT_FALSE(held(driver.children().at(0)));
  EXPECT_EQ(driver.wait().code, 0);
}

/// As by Ctrl-C at a terminal, or `timeout -s USR1`: the driver alone answers, children that have
/// just begun too.
TEST_F(FakeSweep, SignalsToEveryProcessAreLeftToTheDriver) {
  for (const int signal : {SIGINT, SIGHUP, SIGUSR1}) {
    const std::string results = folder_ / std::to_string(signal);
    ProcessOptions options;
    options.environment = {{"FAKE_STEP_US", "1000"}};
    Process driver(command(results, 2), options);
    ASSERT_TRUE(eventually([&] { return !driver.children().empty(); }));
    for (int i = 0; i < 20; ++i) {
      for (const pid_t child : driver.children())
        kill(child, signal);
      pause_ms(2);
    }
    const Ended ended = driver.wait();
    EXPECT_EQ(ended.code, 0) << signal << ended.err;
    EXPECT_EQ(contents(results), undisturbed(2));
  }
}

/// As nohup does with SIGHUP, and a shell with SIGINT for what it starts in the background.
TEST_F(FakeSweep, SignalsThatItsStarterIgnoresStayIgnored) {
  for (const int number : {SIGINT, SIGHUP, SIGCHLD}) {
    const std::string results = folder_ / std::to_string(number);
    ProcessOptions options;
    options.environment = {{"FAKE_STEP_US", "5000"}};
    const auto before = signal(number, SIG_IGN);
    Process driver(command(results, 2), options);
    signal(number, before);
    ASSERT_TRUE(eventually([&] { return !driver.children().empty(); }));
    driver.send(number);
    const std::string stat = "/proc/" + std::to_string(driver.pid()) + "/stat";
    ASSERT_TRUE(eventually([&] { return file_text(stat).find(") Z ") != std::string::npos; }));
    const Ended ended = driver.wait();
    EXPECT_EQ(ended.code, 0) << number << ended.err;
    EXPECT_EQ(contents(results), undisturbed(2));
  }
}

TEST_F(FakeSweep, SecondSignalEndsAtOnce) {
  for (const int signal : {SIGINT, SIGTERM}) {
    ProcessOptions options;
    options.environment = {{"FAKE_HANG_SEED", "1"}};
    Process driver(command(folder_ / std::to_string(signal), 1), options);
    ASSERT_TRUE(eventually([&] { return !driver.children().empty(); }));
    const pid_t worker = driver.children().at(0);
    pause_ms(300);
    driver.send(signal);
    pause_ms(700);
    driver.send(signal);
    EXPECT_EQ(driver.wait().code, 128 + signal);
    EXPECT_TRUE(eventually([&] {
      const std::string status = file_text("/proc/" + std::to_string(worker) + "/stat");
      return status.empty() || status.find(") Z ") != std::string::npos;
    }));
  }
}

}  // namespace
}  // namespace recallbench
