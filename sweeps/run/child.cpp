#include "sweeps/run/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/io/posix.h"

extern char** environ;

namespace recallbench {
namespace {

constexpr const char* kWho = "child process";

[[noreturn]] void fail_errno(const char* operation, int error) {
  fail(ErrorKind::io, kWho, "cannot {}: {}; free some processes, files or memory and start again",
       operation, strerror(error));
}

/// A file in memory that holds `text`, at its beginning. No limit as a pipe's, no name on a disk.
FileDescriptor open_input(const std::string& text) {
  FileDescriptor file(memfd_create("input", MFD_CLOEXEC));
  if (!file.is_open()) fail_errno("make the input of a child", errno);
  if (const int error = write_all(file.get(), text); error != 0)
    fail_errno("write the input of a child", error);
  if (lseek(file.get(), 0, SEEK_SET) != 0) fail_errno("rewind the input of a child", errno);
  return file;
}

struct Pipe {
  FileDescriptor reading, writing;
};

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail_errno("make a pipe", errno);
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

/// posix_spawn's settings, released with their holder.
class SpawnSettings {
 public:
  SpawnSettings(int input, int output, int messages, int turn) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_adddup2(&actions_, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, output, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, messages, kMessageDescriptor);
    posix_spawn_file_actions_adddup2(&actions_, turn, kTurnDescriptor);
    posix_spawn_file_actions_addclosefrom_np(&actions_, kTurnDescriptor + 1);
    sigset_t left_to_parent, all;
    sigemptyset(&left_to_parent);
    for (const int number : {SIGINT, SIGHUP, SIGUSR1})
      sigaddset(&left_to_parent, number);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &left_to_parent);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    posix_spawnattr_destroy(&attributes_);
    posix_spawn_file_actions_destroy(&actions_);
  }

  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

/// A copy of `number` that lies above the descriptors that the child's own will take.
FileDescriptor lifted(const FileDescriptor& file) {
  FileDescriptor copy(fcntl(file.get(), F_DUPFD_CLOEXEC, kTurnDescriptor + 1));
  if (!copy.is_open()) fail_errno("copy a descriptor", errno);
  return copy;
}

}  // namespace

Child spawn_child(const std::vector<std::string>& command, const std::string& input,
                  const std::string& log) {
  check(!command.empty(), kWho, "a command is needed, none came");
  const FileDescriptor output =
      open_at(AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (!output.is_open()) fail_system(ErrorKind::io, "open", log, errno);
  require_regular_file(output, log, ErrorKind::io);
  const FileDescriptor source = open_input(input);
  Pipe messages = make_pipe(), turn = make_pipe();
  fcntl(messages.reading.get(), F_SETFL, O_NONBLOCK);
  const FileDescriptor high_source = lifted(source), high_output = lifted(output),
                       high_messages = lifted(messages.writing), high_turn = lifted(turn.reading);
  const SpawnSettings settings(high_source.get(), high_output.get(), high_messages.get(),
                               high_turn.get());
  std::vector<char*> arguments;
  for (const std::string& argument : command)
    arguments.push_back(const_cast<char*>(argument.data()));
  arguments.push_back(nullptr);
  Child child;
  const int error = posix_spawn(&child.pid, command[0].c_str(), &settings.actions_,
                                &settings.attributes_, arguments.data(), environ);
  if (error != 0) fail_errno("start a child", error);
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
