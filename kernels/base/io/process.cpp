#include "kernels/base/io/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "kernels/base/text.h"

extern char** environ;

namespace recallbench {
namespace {

[[noreturn]] void fail_process(ErrorKind kind, const std::string& operation, int error) {
  fail(kind, "process", "cannot {}: {}; free some processes, files or memory and start again",
       operation, std::generic_category().message(error));
}

/// A copy of `fd` from `least` on.
FileDescriptor lifted(int fd, int least) {
  FileDescriptor copy(fcntl(fd, F_DUPFD_CLOEXEC, least));
  if (!copy.is_open()) fail_process(ErrorKind::io, "copy a descriptor", errno);
  return copy;
}

/// posix_spawn's settings, released with their holder.
class SpawnSettings {
 public:
  explicit SpawnSettings(const SpawnOptions& options) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    const int count = static_cast<int>(options.descriptors.size());
    for (int i = 0; i < count; ++i) {
      // None may lie where another is to be put.
      copies_.push_back(lifted(options.descriptors[static_cast<std::size_t>(i)], count));
      require(posix_spawn_file_actions_adddup2(&actions_, copies_.back().get(), i));
    }
    require(posix_spawn_file_actions_addclosefrom_np(&actions_, count));
    if (!options.folder.empty())
      require(posix_spawn_file_actions_addchdir_np(&actions_, options.folder.c_str()));
    sigset_t blocked, all;
    sigemptyset(&blocked);
    for (const int number : options.blocked)
      sigaddset(&blocked, number);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &blocked);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    posix_spawnattr_destroy(&attributes_);
    posix_spawn_file_actions_destroy(&actions_);
  }

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  static void require(int error) {
    if (error != 0) fail_process(ErrorKind::io, "prepare a child", error);
  }

  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  std::vector<FileDescriptor> copies_;
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts)
    result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

Pipe open_pipe(ErrorKind kind) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail_process(kind, "make a pipe", errno);
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

pid_t spawn(const std::vector<std::string>& command, const SpawnOptions& options) {
  check(!command.empty(), "process", "a command is needed, none came");
  const SpawnSettings settings(options);
  std::vector<std::string> words = command;
  std::vector<std::string> variables = options.environment.value_or(std::vector<std::string>{});
  const std::vector<char*> arguments = pointers(words), given = pointers(variables);
  pid_t child = -1;
  const int error =
      posix_spawnp(&child, words[0].c_str(), settings.actions(), settings.attributes(),
                   arguments.data(), options.environment ? given.data() : environ);
  if (error != 0) fail_process(ErrorKind::io, "start " + in_quotes(words[0]), error);
  return child;
}

ChildProcess::~ChildProcess() {
  if (status_) return;
  kill();
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

void ChildProcess::kill() const noexcept {
  if (!status_) ::kill(pid_, SIGKILL);
}

std::optional<int> ChildProcess::poll() {
  return wait_with(WNOHANG);
}

int ChildProcess::wait() {
  return *wait_with(0);
}

std::optional<int> ChildProcess::wait_with(int flags) {
  while (!status_) {
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, flags);
    if (ended == 0) return std::nullopt;
    if (ended < 0 && errno != EINTR) fail_process(ErrorKind::io, "wait for a child", errno);
    if (ended == pid_) status_ = status;
  }
  return status_;
}

}  // namespace recallbench
