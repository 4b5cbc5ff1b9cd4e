#include "kernels/base/io/temporary_folder.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <optional>

#include "kernels/base/io/atomic_file.h"
#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

TEST(TemporaryFolder, EachIsItsOwnAndGoesWithAllThatIsInIt) {
  std::optional<TemporaryFolder> folder;
  folder.emplace();
  const TemporaryFolder other;
  EXPECT_NE(folder->path(), other.path());
  make_directories(*folder / "sub");
  publish(*folder / "sub/file", "text");
  const std::string path = folder->path();
  folder.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(std::filesystem::exists(other.path()));
}

TEST(TemporaryFolder, SaysWhereNoneCanBeMade) {
  const TemporaryFolder folder;
  const char* const before = ::getenv("TMPDIR");
  const std::optional<std::string> kept =
      before == nullptr ? std::nullopt : std::optional<std::string>(before);
  ::setenv("TMPDIR", (folder / "missing").c_str(), 1);
  EXPECT_ERROR(TemporaryFolder{}, ErrorKind::io, "set TMPDIR");
  kept ? ::setenv("TMPDIR", kept->c_str(), 1) : ::unsetenv("TMPDIR");
}

}  // namespace
}  // namespace recallbench
