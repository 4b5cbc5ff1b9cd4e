#include "kernels/base/io/line_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <optional>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/file_lock.h"
#include "kernels/base/io/temporary_folder.h"
#include "tests/base/child.h"
#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

using Lines = std::vector<std::string>;

std::string content(const std::string& path) {
  return read_file(path, 1 << 22);
}

TEST(LineFile, AppendsAndGoesOn) {
  const TemporaryFolder folder;
  {
    LineFile file(folder / "m.jsonl");
    EXPECT_EQ(file.line_count(), 0);
    file.append("one");
    file.append("");
    file.sync();
  }
  LineFile file(folder / "m.jsonl");
  EXPECT_EQ(file.line_count(), 2);
  file.append("three");
  EXPECT_EQ(file.line_count(), 3);
  EXPECT_EQ(content(file.path()), "one\n\nthree\n");
  EXPECT_EQ(read_lines(file.path(), 100), (Lines{"one", "", "three"}));
}

TEST(LineFile, ATornLastLineIsCutOff) {
  const TemporaryFolder folder;
  for (const auto& [torn, whole] : {std::pair("a\nb\n{\"x\":", "a\nb\n"), std::pair("{\"x", ""),
                                    std::pair("a\n", "a\n"), std::pair("\n\nz", "\n\n")}) {
    publish(folder / "m", torn);
    LineFile file(folder / "m");
    EXPECT_EQ(content(file.path()), whole);
    file.append("z");
    EXPECT_EQ(content(file.path()), std::string(whole) + "z\n");
  }
  publish(folder / "m", "a\nb\ntorn");
  EXPECT_EQ(read_lines(folder / "m", 100), (Lines{"a", "b"}));
  EXPECT_EQ(content(folder / "m"), "a\nb\ntorn");
}

TEST(LineFile, CutsBackToACount) {
  const TemporaryFolder folder;
  LineFile file(folder / "m");
  for (const char* line : {"a", "bb", "ccc", "dddd"})
    file.append(line);
  file.truncate_to(4);
  file.truncate_to(2);
  EXPECT_EQ(file.line_count(), 2);
  EXPECT_EQ(content(file.path()), "a\nbb\n");
  file.append("new");
  EXPECT_EQ(content(file.path()), "a\nbb\nnew\n");
  EXPECT_ERROR(file.truncate_to(5), ErrorKind::io, "should have at least 5 lines but has 3");
  EXPECT_EQ(file.line_count(), 3);
  file.truncate_to(0);
  file.append("x");
  EXPECT_EQ(content(file.path()), "x\n");
}

/// Larger than the buffer that it is searched with.
TEST(LineFile, LongFilesAndLines) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 30000; ++i)
    text += std::to_string(i) + "\n";
  const std::string longest(200000, 'x');
  publish(folder / "m", text + longest + "\ntorn");
  LineFile file(folder / "m");
  EXPECT_EQ(file.line_count(), 30001);
  EXPECT_EQ(content(file.path()), text + longest + "\n");
  file.truncate_to(29999);
  EXPECT_EQ(content(file.path()), text.substr(0, text.size() - 6));
}

TEST(LineFile, WhatDoesNotFitLeavesTheFileAsItWas) {
  const TemporaryFolder folder;
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100, 100};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    LineFile file(folder / "m");
    file.append("first");
    try {
      file.append(std::string(200, 'x'));
    } catch (const Error& error) {
      file.append("second");
      return error.kind() == ErrorKind::io ? 7 : 8;
    }
    return 9;
  });
  EXPECT_EQ(status, 7);
  EXPECT_EQ(content(folder / "m"), "first\nsecond\n");
}

TEST(LineFile, Errors) {
  const TemporaryFolder folder;
  EXPECT_ERROR(LineFile(folder / "missing/m"), ErrorKind::io, "cannot open the folder");
  EXPECT_ERROR(LineFile(folder.path()), ErrorKind::io, "Is a directory");
  std::filesystem::create_symlink("elsewhere", folder / "link");
  EXPECT_ERROR(LineFile(folder / "link"), ErrorKind::io, "a symbolic link stands there");
  LineFile file(folder / "m");
  EXPECT_ERROR(file.append("a\nb"), ErrorKind::internal, "expected one line");
  EXPECT_ERROR(read_lines(folder / "none", 10, ErrorKind::usage), ErrorKind::usage, "No such file");
}

TEST(FileLock, ExcludesWithinTheProcess) {
  const TemporaryFolder folder;
  std::optional<FileLock> first = FileLock::try_lock(folder / "lock");
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(FileLock::try_lock(folder / "lock").has_value());
  EXPECT_TRUE(FileLock::try_lock(folder / "other").has_value());
  FileLock moved = std::move(*first);
  first.reset();
  EXPECT_FALSE(FileLock::try_lock(folder / "lock").has_value());
  FileLock(std::move(moved));
  EXPECT_TRUE(FileLock::try_lock(folder / "lock").has_value());
}

TEST(FileLock, ExcludesOtherProcesses) {
  const TemporaryFolder folder;
  const auto from_another = [&] {
    return in_child([&] { return FileLock::try_lock(folder / "lock").has_value() ? 1 : 2; });
  };
  std::optional<FileLock> lock = FileLock::try_lock(folder / "lock");
  EXPECT_EQ(from_another(), 2);
  lock.reset();
  EXPECT_EQ(from_another(), 1);
}

/// The child gives up its share; the parent still holds the lock.
TEST(FileLock, AForkedChildsShareIsItsOwn) {
  const TemporaryFolder folder;
  std::optional<FileLock> lock = FileLock::try_lock(folder / "lock");
  EXPECT_EQ(in_child([&] {
              lock.reset();
              return FileLock::try_lock(folder / "lock").has_value() ? 1 : 2;
            }),
            2);
  EXPECT_FALSE(FileLock::try_lock(folder / "lock").has_value());
}

TEST(FileLock, IsFreeOnceItsHolderIsKilled) {
  const TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::optional<FileLock> lock = FileLock::try_lock(folder / "lock");
    const char told = lock ? 'y' : 'n';
    if (::write(ready[1], &told, 1) != 1) ::_exit(1);
    while (true)
      ::pause();
  }
  char told = 0;
  ASSERT_EQ(::read(ready[0], &told, 1), 1);
  EXPECT_EQ(told, 'y');
  EXPECT_FALSE(FileLock::try_lock(folder / "lock").has_value());
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(FileLock::try_lock(folder / "lock").has_value());
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(FileLock, Errors) {
  const TemporaryFolder folder;
  EXPECT_ERROR(FileLock::try_lock(folder / "missing/lock"), ErrorKind::io, "cannot open the lock");
  EXPECT_ERROR(FileLock::try_lock(folder.path()), ErrorKind::io, "Is a directory");
  std::filesystem::create_symlink("elsewhere", folder / "link");
  EXPECT_ERROR(FileLock::try_lock(folder / "link"), ErrorKind::io, "a symbolic link");
}

}  // namespace
}  // namespace recallbench
