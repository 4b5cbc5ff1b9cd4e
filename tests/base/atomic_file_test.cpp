#include "kernels/base/io/atomic_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <filesystem>
#include <fstream>
#include <thread>

#include "kernels/base/philox.h"
#include "tests/base/child.h"
#include "tests/base/expect_error.h"
#include "tests/base/names_in.h"

namespace recallbench {
namespace {

using Names = std::vector<std::string>;

constexpr std::uint64_t kLimit = 1 << 22;

TEST(Publish, WritesReplacesAndLeavesNothingElse) {
  const TemporaryFolder folder;
  publish(folder / "a", "one");
  EXPECT_EQ(read_file(folder / "a", kLimit), "one");
  publish(folder / "a", std::string("t\0wo\n", 5));
  EXPECT_EQ(read_file(folder / "a", kLimit), std::string("t\0wo\n", 5));
  publish(folder / "a", "");
  EXPECT_EQ(read_file(folder / "a", kLimit), "");
  publish(folder / "b", std::array<std::string_view, 3>{"x", "", "yz"});
  EXPECT_EQ(read_file(folder / "b", kLimit), "xyz");
  EXPECT_EQ(names_in(folder), (Names{"a", "b"}));
}

TEST(Publish, OddNames) {
  const TemporaryFolder folder;
  const std::string longest(NAME_MAX, 'n');
  for (const std::string& name : {std::string("a b'c\"$(x)`y`\n"), longest, std::string("-rf"),
                                  std::string("Gr\xC3\xBCn"), std::string("\xFF")}) {
    publish(folder / name, name);
    EXPECT_EQ(read_file(folder / name, kLimit), name);
  }
  EXPECT_EQ(names_in(folder).size(), 5u);
}

TEST(Publish, RelativePaths) {
  const TemporaryFolder folder;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  publish("plain", "1");
  make_directories("sub/deeper");
  publish("sub/deeper/file", "2");
  std::filesystem::current_path(before);
  EXPECT_EQ(read_file(folder / "plain", kLimit), "1");
  EXPECT_EQ(read_file(folder / "sub/deeper/file", kLimit), "2");
}

TEST(Publish, ErrorsNamePathOperationReasonAndRemedy) {
  const TemporaryFolder folder;
  EXPECT_ERROR(publish(folder / "missing/a", "x"), ErrorKind::io,
               "[file] cannot open the folder '" + (folder / "missing") +
                   "': No such file or directory; check the path");
  std::filesystem::create_directory(folder / "sub");
  EXPECT_ERROR(publish(folder / "sub", "x"), ErrorKind::io,
               "/sub': Is a directory; a folder has this name");
  publish(folder / "file", "x");
  EXPECT_ERROR(publish(folder / "file/a", "x"), ErrorKind::io, "Not a directory; check the path");
  for (const char* name : {"", "sub/", ".", "..", "sub/.."})
    EXPECT_ERROR(publish(folder / name, "x"), ErrorKind::io, "is not the path of a file");
  EXPECT_ERROR(publish("", "x"), ErrorKind::io, "'' is not the path of a file");
  EXPECT_ERROR(publish(folder / std::string(NAME_MAX + 1, 'n'), "x"), ErrorKind::io,
               "choose a shorter name");
  EXPECT_EQ(names_in(folder), (Names{"file", "sub"}));
}

TEST(Publish, ReadOnlyFolder) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write to read-only folders";
  const TemporaryFolder folder;
  ::chmod(folder.path().c_str(), 0555);
  EXPECT_ERROR(publish(folder / "a", "x"), ErrorKind::io,
               "Permission denied; check the permissions");
  ::chmod(folder.path().c_str(), 0755);
}

TEST(Publish, ReplacesALinkButNeverWritesThroughIt) {
  const TemporaryFolder folder;
  publish(folder / "target", "old");
  std::filesystem::create_symlink("target", folder / "link");
  publish(folder / "link", "new");
  EXPECT_EQ(read_file(folder / "target", kLimit), "old");
  EXPECT_EQ(read_file(folder / "link", kLimit), "new");
  EXPECT_FALSE(std::filesystem::is_symlink(folder / "link"));
}

/// A link planted under the temporary name is neither followed nor replaced.
TEST(Publish, PlantedTemporaryNamesAreLeftAlone) {
  const TemporaryFolder folder;
  const std::string planted = folder / (".a.tmp." + std::to_string(::getpid()));
  std::filesystem::create_symlink(folder / "victim", planted);
  publish(folder / "a", "x");
  EXPECT_EQ(read_file(folder / "a", kLimit), "x");
  EXPECT_TRUE(std::filesystem::is_symlink(planted));
  EXPECT_FALSE(path_exists(folder / "victim"));
}

TEST(Publish, FromManyThreadsAtOnce) {
  const TemporaryFolder folder;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i)
        publish(folder / "a", std::string(5000, static_cast<char>('a' + t)));
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  const std::string content = read_file(folder / "a", kLimit);
  EXPECT_EQ(content, std::string(5000, content.at(0)));
  EXPECT_EQ(names_in(folder), (Names{"a"}));
}

/// A short write, then EFBIG: as a full disk goes.
TEST(Publish, AFileThatDoesNotFitLeavesTheOldOne) {
  const TemporaryFolder folder;
  publish(folder / "a", "old");
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      publish(folder / "a", std::string(100000, 'x'));
    } catch (const Error& error) {
      const std::string text = error.what();
      return error.kind() == ErrorKind::io && text.find("ulimit -f") != std::string::npos ? 7 : 8;
    }
    return 9;
  });
  EXPECT_EQ(status, 7);
  EXPECT_EQ(read_file(folder / "a", kLimit), "old");
  EXPECT_EQ(names_in(folder), (Names{"a"}));
}

/// Content that shows tearing: the same number all over.
std::string version_text(int version) {
  std::string text;
  for (int i = 0; i < 4000; ++i)
    text += std::to_string(version) + "\n";
  return text;
}

TEST(Publish, KilledAtRandomMomentsTheFileIsNeverTorn) {
  const TemporaryFolder folder;
  // Up to three times what one publication takes here.
  const auto start = std::chrono::steady_clock::now();
  publish(folder / "a", version_text(1));
  const std::chrono::duration<double> once = std::chrono::steady_clock::now() - start;
  const auto longest = static_cast<std::uint32_t>(3e6 * std::min(once.count(), 0.03)) + 2000;
  RandomStream stream(1, Purpose::test_values, 0, 0);
  int seen = 1, killed = 0, removed = 0;
  for (int round = 0; round < 60; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int version = seen + 1;; ++version)
        publish(folder / "a", version_text(version));
    }
    ::usleep(stream.below(longest));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    const std::string content = read_file(folder / "a", kLimit);
    const int version = std::stoi(content);
    ASSERT_EQ(content, version_text(version));
    ASSERT_GE(version, seen);
    seen = version;
    removed += remove_leftovers(folder.path());
    ASSERT_EQ(names_in(folder), (Names{"a"}));
  }
  EXPECT_EQ(killed, 60);
  EXPECT_GT(seen, 1);
  EXPECT_GT(removed, 0);
}

TEST(ReadFile, BoundsAndKinds) {
  const TemporaryFolder folder;
  publish(folder / "a", "12345");
  EXPECT_EQ(read_file(folder / "a", 5), "12345");
  EXPECT_ERROR(read_file(folder / "a", 4), ErrorKind::io, "more than the 4 bytes");
  EXPECT_ERROR(read_file(folder / "b", 4, ErrorKind::usage), ErrorKind::usage,
               "[file] cannot open '" + (folder / "b") + "': No such file");
  EXPECT_ERROR(read_file(folder.path(), 4), ErrorKind::io,
               "' is a folder; give the path of a file");
  EXPECT_ERROR(read_file(folder / "\x1b[2J", 4), ErrorKind::io, "\\x1b[2J");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_ERROR(read_file(folder / "pipe", 4), ErrorKind::io, "is not a regular file");
  EXPECT_ERROR(read_file("/dev/zero", 4), ErrorKind::io, "is not a regular file");
}

/// Files of /proc tell no size.
TEST(ReadFile, FilesOfUnknownSize) {
  const std::string content = read_file("/proc/self/maps", kLimit);
  EXPECT_GT(content.size(), 1000u);
  EXPECT_ERROR(read_file("/proc/self/maps", 100), ErrorKind::io, "more than the 100 bytes");
}

TEST(MakeDirectories, CreatesWhatIsMissing) {
  const TemporaryFolder folder;
  make_directories(folder / "a/b//c/");
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b/c"));
  make_directories(folder / "a/b/c");
  make_directories("/");
  publish(folder / "file", "x");
  EXPECT_ERROR(make_directories(folder / "file"), ErrorKind::io, "cannot create the folder");
  EXPECT_ERROR(make_directories(folder / "file/a"), ErrorKind::io, "/file': File exists");
  EXPECT_ERROR(make_directories(""), ErrorKind::io, "is empty");
}

TEST(PathExists, SeesEverythingThatHasTheName) {
  const TemporaryFolder folder;
  publish(folder / "file", "x");
  std::filesystem::create_symlink("nowhere", folder / "link");
  EXPECT_TRUE(path_exists(folder.path()));
  EXPECT_TRUE(path_exists(folder / "file"));
  EXPECT_TRUE(path_exists(folder / "link"));
  EXPECT_FALSE(path_exists(folder / "nowhere"));
  EXPECT_FALSE(path_exists(folder / "file/x"));
  EXPECT_ERROR(path_exists(folder / std::string(NAME_MAX + 1, 'n')), ErrorKind::io, "shorter name");
}

TEST(RemoveLeftovers, TakesDeadTemporaryFilesAlone) {
  const TemporaryFolder folder;
  pid_t dead = 0;
  in_child([] { return 0; }, &dead);
  const std::string gone = std::to_string(dead), ours = std::to_string(::getpid());
  const Names removed{".a.tmp." + gone, ".a.tmp." + gone + ".3", ".b.tmp." + ours};
  const Names kept{"a",
                   ".a.tmp.",
                   ".a.tmp.x",
                   "a.tmp." + gone,
                   ".a.tmp.1",
                   ".a.tmp." + gone + "x",
                   ".a.tmp." + gone + ".",
                   ".a.tmp.-5",
                   ".tmp." + gone,
                   ".a.tmp.99999999999999999999"};
  for (const Names& names : {removed, kept})
    for (const std::string& name : names)
      std::ofstream(folder / name) << "x";
  std::filesystem::create_directory(folder / (".d.tmp." + gone));
  EXPECT_EQ(remove_leftovers(folder.path()), 3);
  EXPECT_EQ(names_in(folder).size(), kept.size() + 1);
  EXPECT_EQ(remove_leftovers(folder.path()), 0);
  EXPECT_ERROR(remove_leftovers(folder / "missing"), ErrorKind::io, "cannot list the folder");
}

}  // namespace
}  // namespace recallbench
