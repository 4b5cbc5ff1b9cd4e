#include "kernels/base/io/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <optional>

#include "kernels/base/io/temporary_folder.h"
#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

/// All that comes out of a pipe until its other end is closed.
std::string drained(Pipe& pipe) {
  pipe.writing.close();
  std::string text;
  char buffer[4096];
  for (std::int64_t count; (count = read_some(pipe.reading.get(), buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<std::size_t>(count));
  return text;
}

/// What a program prints that is started with `options`, its output and error in one pipe.
std::string output_of(const std::vector<std::string>& command, SpawnOptions options = {}) {
  const FileDescriptor nothing = open_at(AT_FDCWD, "/dev/null", O_RDONLY);
  Pipe out = open_pipe();
  options.descriptors = {nothing.get(), out.writing.get(), out.writing.get()};
  ChildProcess child(spawn(command, options));
  const std::string text = drained(out);
  EXPECT_EQ(child.wait(), 0) << text;
  return text;
}

TEST(Spawn, ChildrenHaveTheDescriptorsThatTheyAreGivenAlone) {
  const FileDescriptor open = open_at(AT_FDCWD, "/dev/null", O_RDONLY);
  const FileDescriptor inherited(::fcntl(open.get(), F_DUPFD, 20));  // without FD_CLOEXEC
  ASSERT_TRUE(inherited.is_open());
  const std::string there = fmt::format("/proc/$$/fd/{}", inherited.get());
  EXPECT_EQ(output_of({"sh", "-c", "[ -e " + there + " ] && echo inherited; echo end"}), "end\n");
}

TEST(Spawn, DescriptorsMayLieInEachOthersPlaces) {
  const FileDescriptor nothing = open_at(AT_FDCWD, "/dev/null", O_RDONLY);
  Pipe out = open_pipe();
  SpawnOptions options;
  options.descriptors = {nothing.get(), out.writing.get(), 1};  // 1 as it is here
  ChildProcess child(
      spawn({"sh", "-c", "[ /proc/$$/fd/1 -ef /proc/$$/fd/2 ] && echo same; echo end"}, options));
  EXPECT_EQ(drained(out), "end\n");
  EXPECT_EQ(child.wait(), 0);
}

TEST(Spawn, FolderEnvironmentAndSignalsAreAsAsked) {
  const TemporaryFolder folder;
  SpawnOptions options;
  options.folder = folder.path();
  options.environment = {"GREETING=hello", "PATH=/usr/bin:/bin"};
  options.blocked = {SIGHUP};
  EXPECT_EQ(output_of({"sh", "-c", "pwd; echo $GREETING $HOME"}, options),
            folder.path() + "\nhello\n");
  EXPECT_EQ(output_of({"grep", "SigBlk", "/proc/self/status"}, options),
            "SigBlk:\t0000000000000001\n");
}

TEST(Spawn, AProgramThatIsNotThereIsAnError) {
  EXPECT_ERROR(spawn({"no-such-program"}, {}), ErrorKind::io, "cannot start 'no-such-program'");
}

TEST(ChildProcess, ItEndsWithItsHolder) {
  const FileDescriptor nowhere = open_at(AT_FDCWD, "/dev/null", O_RDWR);
  const SpawnOptions options{{nowhere.get(), nowhere.get(), nowhere.get()}, "", {}, {}};
  const pid_t pid = spawn({"sleep", "1000"}, options);
  {
    ChildProcess child(pid);
    EXPECT_EQ(child.poll(), std::nullopt);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(ChildProcess, TellsHowItEndedAgainAndAgain) {
  ChildProcess child(spawn({"sh", "-c", "exit 3"}, {}));
  const int status = child.wait();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
  EXPECT_EQ(child.poll(), std::optional<int>(status));
  child.kill();
  EXPECT_EQ(child.wait(), status);
}

}  // namespace
}  // namespace recallbench
