#include "sweeps/run/child.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/io/process.h"

namespace recallbench {
namespace {

[[noreturn]] void fail_input(const char* operation, int error) {
  fail(ErrorKind::io, "child process", "cannot {} its input: {}; free some memory and start again",
       operation, strerror(error));
}

/// A file in memory that holds `text`, at its beginning. No limit as a pipe's, no name on a disk.
FileDescriptor open_input(const std::string& text) {
  FileDescriptor file(memfd_create("input", MFD_CLOEXEC));
  if (!file.is_open()) fail_input("make", errno);
  if (const int error = write_all(file.get(), text); error != 0) fail_input("write", error);
  if (lseek(file.get(), 0, SEEK_SET) != 0) fail_input("rewind", errno);
  return file;
}

}  // namespace

Child spawn_child(const std::vector<std::string>& command, const std::string& input,
                  const std::string& log) {
  const FileDescriptor output =
      open_at(AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (!output.is_open()) fail_system(ErrorKind::io, "open", log, errno);
  require_regular_file(output, log, ErrorKind::io);
  const FileDescriptor source = open_input(input);
  Pipe messages = open_pipe(), turn = open_pipe();
  fcntl(messages.reading.get(), F_SETFL, O_NONBLOCK);
  SpawnOptions options;
  options.descriptors = {source.get(), output.get(), output.get(), messages.writing.get(),
                         turn.reading.get()};
  static_assert(kMessageDescriptor == 3 && kTurnDescriptor == 4, "their places in that list");
  options.blocked = {SIGINT, SIGHUP, SIGUSR1};
  Child child;
  child.pid = spawn(command, options);
  child.messages = std::move(messages.reading);
  child.turn = std::move(turn.writing);
  return child;
}

std::string signal_name(int number) {
  const char* name = sigabbrev_np(number);
  return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(number);
}

std::string last_log_line(const std::string& path, long offset) {
  constexpr long kTail = 4096;
  constexpr std::size_t kLongest = 300;
  const FileDescriptor file = open_at(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file.is_open()) return "";
  const long size = static_cast<long>(lseek(file.get(), 0, SEEK_END));
  const long start = std::max({offset, size - kTail, 0L});
  if (start >= size) return "";
  std::string text(static_cast<std::size_t>(size - start), '\0');
  const ssize_t count = pread(file.get(), text.data(), text.size(), start);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  for (char& c : text)
    if ((c < 0x20 || c > 0x7e) && c != '\n') c = c >= 0 && c < 0x20 ? ' ' : '?';
  const std::size_t end = text.find_last_not_of(" \n");
  if (end == std::string::npos) return "";
  const std::size_t newline = text.rfind('\n', end);
  const std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
  return text.substr(begin, std::min(end - begin + 1, kLongest));
}

}  // namespace recallbench
