#include "kernels/base/io/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "kernels/base/io/posix.h"
#include "tests/base/child.h"

namespace recallbench {
namespace {

/// Sets a variable of the environment, or unsets it where there is no value.
void set(const char* name, const char* value) {
  value == nullptr ? ::unsetenv(name) : ::setenv(name, value, 1);
}

/// What use_color answers for a terminal, in a process with these variables alone changed.
bool colors_terminal(const char* choice, const char* terminal, const char* no_color) {
  const int answer = in_child([&] {
    set("TERM", terminal);
    set("NO_COLOR", no_color);
    const FileDescriptor main(::posix_openpt(O_RDWR | O_NOCTTY));
    if (!main.is_open() || ::grantpt(main.get()) != 0 || ::unlockpt(main.get()) != 0) return 3;
    const FileDescriptor other = open_at(AT_FDCWD, ::ptsname(main.get()), O_RDWR | O_NOCTTY);
    return other.is_open() ? (use_color(choice, other.get()) ? 1 : 0) : 3;
  });
  EXPECT_TRUE(answer == 0 || answer == 1) << "no pseudo-terminal: " << answer;
  return answer == 1;
}

TEST(Terminal, ColorIsWhatIsChosenAndElseForSmartTerminals) {
  EXPECT_TRUE(colors_terminal("auto", "xterm", nullptr));
  EXPECT_FALSE(colors_terminal("auto", "dumb", nullptr));
  EXPECT_FALSE(colors_terminal("auto", nullptr, nullptr));
  EXPECT_FALSE(colors_terminal("never", "xterm", nullptr));
  EXPECT_TRUE(colors_terminal("always", nullptr, "1"));
}

TEST(Terminal, NoColorCountsWhereItIsNotEmpty) {
  EXPECT_FALSE(colors_terminal("auto", "xterm", "1"));
  EXPECT_TRUE(colors_terminal("auto", "xterm", ""));
}

TEST(Terminal, AFileHasNoColorUnlessItIsChosen) {
  set("TERM", "xterm");
  const FileDescriptor nowhere = open_at(AT_FDCWD, "/dev/null", O_WRONLY);
  EXPECT_FALSE(use_color("auto", nowhere.get()));
  EXPECT_TRUE(use_color("always", nowhere.get()));
  EXPECT_FALSE(use_color("never", nowhere.get()));
}

}  // namespace
}  // namespace recallbench
