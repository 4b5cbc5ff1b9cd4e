#include "sweeps/run/turn.h"

#include <fmt/format.h>
#include <poll.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "sweeps/run/running.h"

namespace recallbench {
namespace {

// ms until a signal is seen that came between the question and the wait.
constexpr int kAskAgain = 50;

}  // namespace

bool give_turn(FileDescriptor& pipe) {
  const int error = write_all(pipe.get(), fmt::format("{:.9f}", monotonic_seconds()));
  if (error == EPIPE) return false;
  if (error != 0)
    fail(ErrorKind::io, "child process", "cannot tell a child to begin: {}; start again",
         strerror(error));
  pipe.close();
  return true;
}

std::optional<double> wait_for_turn(int pipe, const std::function<bool()>& stop_requested) {
  pollfd file{pipe, POLLIN, 0};
  int ready = 0;
  while (ready == 0 || (ready < 0 && errno == EINTR)) {
    if (stop_requested()) return std::nullopt;
    ready = poll(&file, 1, kAskAgain);
  }
  char text[64] = {};
  if (read_some(pipe, text, sizeof(text) - 1) <= 0) return std::nullopt;
  return std::strtod(text, nullptr);
}

}  // namespace recallbench
