#include "analysis/tool.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <thread>

#include "kernels/base/error.h"

extern char** environ;

namespace recallbench {
namespace {

[[noreturn]] void fail_errno(const std::string& operation, int error) {
  fail(ErrorKind::io, "figure", "cannot {}: {}", operation, std::strerror(error));
}

/// A pipe that children inherit only where it is given to them.
struct Pipe {
  std::array<int, 2> ends{-1, -1};
  Pipe() {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) fail_errno("pipe", errno);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  void close_end(int end) {
    if (ends[end] >= 0) close(ends[end]);
    ends[end] = -1;
  }
};

/// The environment without what changes numbers, texts or gnuplot's files and terminal.
std::vector<std::string> clean_environment() {
  std::vector<std::string> kept = {"LC_ALL=C.UTF-8", "TZ=UTC0"};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    bool drop = false;
    for (const std::string_view prefix : {"LC_", "LANG", "GNUPLOT", "GNUTERM", "TZ="})
      drop = drop || text.substr(0, prefix.size()) == prefix;
    if (!drop) kept.emplace_back(text);
  }
  return kept;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts)
    result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

pid_t spawn(const std::string& directory, std::vector<std::string> command, const Pipe& out,
            const Pipe& err) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err.ends[1], 2);
  posix_spawn_file_actions_addchdir_np(&actions, directory.c_str());
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> environment = clean_environment();
  pid_t child = -1;
  const int error = posix_spawnp(&child, command[0].c_str(), &actions, &attributes,
                                 pointers(command).data(), pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) fail_errno("start " + command[0], error);
  return child;
}

using Clock = std::chrono::steady_clock;

int milliseconds_until(Clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, INT_MAX));
}

/// Reads both pipes until the child has closed them, so that neither can fill up and block it;
/// false if it has not by `end`.
bool drain(const Pipe& out, const Pipe& err, Clock::time_point end, std::string& output,
           std::string& messages) {
  std::array<pollfd, 2> waiting{{{out.ends[0], POLLIN, 0}, {err.ends[0], POLLIN, 0}}};
  std::array<std::string*, 2> texts{&output, &messages};
  std::vector<char> buffer(std::size_t{1} << 16);
  while (waiting[0].fd >= 0 || waiting[1].fd >= 0) {
    const int left = milliseconds_until(end);
    if (left == 0) return false;
    if (poll(waiting.data(), waiting.size(), left) < 0) {
      if (errno == EINTR) continue;
      fail_errno("poll", errno);
    }
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].fd < 0 || waiting[i].revents == 0) continue;
      const ssize_t count = read(waiting[i].fd, buffer.data(), buffer.size());
      if (count > 0)
        texts[i]->append(buffer.data(), static_cast<std::size_t>(count));
      else if (count == 0 || errno != EINTR)
        waiting[i].fd = -1;
    }
  }
  return true;
}

/// The status of a child that has ended, or does by `end`.
std::optional<int> wait_until(pid_t child, Clock::time_point end) {
  for (;;) {
    int status = 0;
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) return status;
    if (ended < 0 && errno != EINTR) fail_errno("waitpid", errno);
    if (Clock::now() >= end) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void end_child(pid_t child) {
  kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) fail_errno("waitpid", errno);
}

}  // namespace

bool tool_available(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::string_view left = path == nullptr ? "" : path;
  while (!left.empty()) {
    const std::string_view folder = left.substr(0, left.find(':'));
    left.remove_prefix(std::min(left.size(), folder.size() + 1));
    const std::string file = std::string(folder) + "/" + name;
    if (!folder.empty() && access(file.c_str(), X_OK) == 0) return true;
  }
  return false;
}

ToolOutput run_tool(const std::string& directory, const std::vector<std::string>& command,
                    std::chrono::milliseconds limit) {
  const Clock::time_point end = Clock::now() + limit;
  Pipe out, err;
  const pid_t child = spawn(directory, command, out, err);
  out.close_end(1);
  err.close_end(1);
  ToolOutput result;
  std::optional<int> status;
  if (drain(out, err, end, result.output, result.messages)) status = wait_until(child, end);
  if (!status) {
    end_child(child);
    result.problem = fmt::format("did not end within {} s and was killed",
                                 static_cast<double>(limit.count()) / 1000);
  } else if (WIFSIGNALED(*status)) {
    result.problem = fmt::format("was ended by signal {}", WTERMSIG(*status));
  } else if (WEXITSTATUS(*status) != 0) {
    result.problem = fmt::format("ended with status {}", WEXITSTATUS(*status));
  }
  return result;
}

}  // namespace recallbench
