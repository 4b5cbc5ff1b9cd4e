#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <optional>
#include <utility>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/line_file.h"
#include "tests/base/names_in.h"

namespace recallbench {
namespace {

constexpr int kDone = 0, kFailedProperly = 7, kFailedBadly = 8;

/// How a traced child ended: its exit status, or none if it was killed.
struct Outcome {
  std::optional<int> status;
  long call;  ///< the file call that was hit; -1 if there were fewer
};

#if defined(__x86_64__)

/// The calls that count: what files are made of. A sanitizer's runtime makes others of its own.
constexpr std::array<long, 11> kFileCalls{SYS_openat,   SYS_read,      SYS_write,   SYS_lseek,
                                          SYS_fsync,    SYS_ftruncate, SYS_close,   SYS_rename,
                                          SYS_renameat, SYS_unlink,    SYS_unlinkat};

bool is_file_call(unsigned long long call) {
  return std::find(kFileCalls.begin(), kFileCalls.end(), static_cast<long>(call)) !=
         kFileCalls.end();
}

/// Runs `action` in a child under ptrace. At its n-th file call (from 0) it is killed if `error`
/// is 0; otherwise that call is not made and returns -error.
Outcome run_with_fault(const std::function<void()>& action, int n, int error) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(99);
    ::raise(SIGSTOP);
    try {
      action();
    } catch (const Error& failure) {
      ::_exit(failure.kind() == ErrorKind::io ? kFailedProperly : kFailedBadly);
    } catch (...) {
      ::_exit(kFailedBadly);
    }
    ::_exit(kDone);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFSTOPPED(status)) return {99, -1};
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD);
  Outcome outcome{std::nullopt, -1};
  bool entering = true, hit = false;
  for (int calls = 0;; entering = !entering) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
    if (!WIFSTOPPED(status)) break;
    user_regs_struct registers{};
    ::ptrace(PTRACE_GETREGS, child, nullptr, &registers);
    if (entering && is_file_call(registers.orig_rax) && calls++ == n) {
      hit = true;
      outcome.call = static_cast<long>(registers.orig_rax);
      if (error == 0) {
        ::kill(child, SIGKILL);
        ::waitpid(child, &status, 0);
        break;
      }
      registers.orig_rax = ~0ull;  // no such call: the kernel makes none
      ::ptrace(PTRACE_SETREGS, child, nullptr, &registers);
    } else if (!entering && std::exchange(hit, false)) {
      registers.rax = static_cast<unsigned long long>(-static_cast<long>(error));
      ::ptrace(PTRACE_SETREGS, child, nullptr, &registers);
    }
  }
  if (WIFEXITED(status)) outcome.status = WEXITSTATUS(status);
  return outcome;
}

bool can_trace() {
  return run_with_fault([] {}, 1000, 0).status == kDone;
}

const std::string kOld(30000, 'o'), kNew(70000, 'n');

/// What stands in the folder is the old file or the new one, and no more than one leftover.
void expect_whole(const TemporaryFolder& folder, bool leftovers_allowed) {
  const std::string content = read_file(folder / "a", 1 << 20);
  EXPECT_TRUE(content == kOld || content == kNew) << content.size() << " bytes";
  if (leftovers_allowed) remove_leftovers(folder.path());
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"a"}));
}

TEST(SystemCallFaults, PublishKilledAtEachLeavesTheOldFileOrTheNew) {
  if (!can_trace()) GTEST_SKIP() << "ptrace is not allowed here";
  const TemporaryFolder folder;
  bool seen_old = false, seen_new = false;
  int n = 0;
  for (;; ++n) {
    publish(folder / "a", kOld);
    const Outcome outcome = run_with_fault([&] { publish(folder / "a", kNew); }, n, 0);
    if (outcome.call < 0) break;
    SCOPED_TRACE(outcome.call);
    EXPECT_FALSE(outcome.status.has_value());
    const bool is_new = read_file(folder / "a", 1 << 20) == kNew;
    EXPECT_FALSE(seen_new && !is_new) << "the new file went away again";
    seen_old = seen_old || !is_new;
    seen_new = is_new;
    expect_whole(folder, true);
  }
  EXPECT_TRUE(seen_old && seen_new);
  EXPECT_GE(n, 7) << "open folder, create, write, sync, close, rename, sync folder";
}

TEST(SystemCallFaults, PublishRefusedAnySystemCallFailsCleanlyOrSucceeds) {
  if (!can_trace()) GTEST_SKIP() << "ptrace is not allowed here";
  for (const int error : {ENOSPC, EIO, EDQUOT, EMFILE, EROFS}) {
    const TemporaryFolder folder;
    int failed = 0;
    for (int n = 0;; ++n) {
      publish(folder / "a", kOld);
      const Outcome outcome = run_with_fault([&] { publish(folder / "a", kNew); }, n, error);
      if (outcome.call < 0) break;
      SCOPED_TRACE(testing::Message() << "call " << outcome.call << ", error " << error);
      const std::array<long, 5> must_succeed{SYS_openat, SYS_write, SYS_fsync, SYS_rename,
                                             SYS_renameat};
      const bool vital =
          std::find(must_succeed.begin(), must_succeed.end(), outcome.call) != must_succeed.end();
      ASSERT_TRUE(outcome.status.has_value());
      EXPECT_TRUE(outcome.status == kFailedProperly || (!vital && outcome.status == kDone))
          << *outcome.status;
      failed += outcome.status == kFailedProperly;
      expect_whole(folder, false);
    }
    EXPECT_GE(failed, 6);
  }
}

TEST(SystemCallFaults, PublishGoesOnAfterInterruptions) {
  if (!can_trace()) GTEST_SKIP() << "ptrace is not allowed here";
  const TemporaryFolder folder;
  for (int n = 0;; ++n) {
    publish(folder / "a", kOld);
    const Outcome outcome = run_with_fault([&] { publish(folder / "a", kNew); }, n, EINTR);
    if (outcome.call < 0) break;
    if (outcome.call == SYS_renameat || outcome.call == SYS_rename) continue;
    SCOPED_TRACE(outcome.call);
    EXPECT_EQ(outcome.status, kDone);
    EXPECT_EQ(read_file(folder / "a", 1 << 20), kNew);
  }
}

TEST(SystemCallFaults, LinesAppendedBeforeAKillAreNeverTornForReaders) {
  if (!can_trace()) GTEST_SKIP() << "ptrace is not allowed here";
  const TemporaryFolder folder;
  for (int n = 0;; ++n) {
    publish(folder / "m", "a\nb\ntorn");
    const Outcome outcome = run_with_fault(
        [&] {
          LineFile file(folder / "m");
          file.append("c");
          file.truncate_to(1);
          file.append("d");
          file.sync();
        },
        n, 0);
    const std::vector<std::string> lines = read_lines(folder / "m", 100);
    const bool expected = lines == std::vector<std::string>{"a", "b"} ||
                          lines == std::vector<std::string>{"a", "b", "c"} ||
                          lines == std::vector<std::string>{"a"} ||
                          lines == std::vector<std::string>{"a", "d"};
    EXPECT_TRUE(expected) << "system call " << outcome.call;
    EXPECT_EQ(LineFile(folder / "m").line_count(), static_cast<std::int64_t>(lines.size()));
    if (outcome.call < 0) {
      EXPECT_EQ(lines, (std::vector<std::string>{"a", "d"}));
      break;
    }
  }
}

#else

TEST(SystemCallFaults, AreInjectedOnX86Alone) {
  GTEST_SKIP() << "written for x86-64";
}

#endif

}  // namespace
}  // namespace recallbench
