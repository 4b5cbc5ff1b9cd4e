#include "analysis/tool.h"

#include <fcntl.h>
#include <poll.h>
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
#include "kernels/base/io/process.h"

extern char** environ;

namespace recallbench {
namespace {

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

using Clock = std::chrono::steady_clock;

int milliseconds_until(Clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, INT_MAX));
}

/// Reads both pipes until the child has closed them, so that neither can fill up and block it;
/// false if it has not by `end`.
bool drain(const FileDescriptor& out, const FileDescriptor& err, Clock::time_point end,
           ToolOutput& result) {
  std::array<pollfd, 2> waiting{{{out.get(), POLLIN, 0}, {err.get(), POLLIN, 0}}};
  std::array<std::string*, 2> texts{&result.output, &result.messages};
  std::vector<char> buffer(std::size_t{1} << 16);
  while (waiting[0].fd >= 0 || waiting[1].fd >= 0) {
    const int left = milliseconds_until(end);
    if (left == 0) return false;
    if (poll(waiting.data(), waiting.size(), left) < 0) {
      if (errno == EINTR) continue;
      fail(ErrorKind::io, "figure", "cannot wait for a program's output: {}; start again",
           std::strerror(errno));
    }
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].fd < 0 || waiting[i].revents == 0) continue;
      const std::int64_t count = read_some(waiting[i].fd, buffer.data(), buffer.size());
      if (count > 0)
        texts[i]->append(buffer.data(), static_cast<std::size_t>(count));
      else
        waiting[i].fd = -1;
    }
  }
  return true;
}

/// The status of a child that has ended, or does by `end`.
std::optional<int> wait_until(ChildProcess& child, Clock::time_point end) {
  for (;;) {
    const std::optional<int> status = child.poll();
    if (status || Clock::now() >= end) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
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
  const FileDescriptor nothing = open_at(AT_FDCWD, "/dev/null", O_RDONLY);
  if (!nothing.is_open()) fail_system(ErrorKind::io, "open", "/dev/null", errno);
  Pipe out = open_pipe(), err = open_pipe();
  SpawnOptions options;
  options.descriptors = {nothing.get(), out.writing.get(), err.writing.get()};
  options.folder = directory;
  options.environment = clean_environment();
  ChildProcess child(spawn(command, options));
  out.writing.close();
  err.writing.close();
  ToolOutput result;
  std::optional<int> status;
  if (drain(out.reading, err.reading, end, result)) status = wait_until(child, end);
  if (!status) {
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
