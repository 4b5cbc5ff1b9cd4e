#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/io/posix.h"

namespace recallbench {

/// A pipe; children inherit its ends only where they are given to them.
struct Pipe {
  FileDescriptor reading, writing;
};

/// Throws Error(kind).
Pipe open_pipe(ErrorKind kind = ErrorKind::io);

/// How a program is started.
struct SpawnOptions {
  std::vector<int> descriptors;  ///< they become its 0, 1, 2, ...; it gets no others
  std::string folder;            ///< where it runs; "": here
  std::optional<std::vector<std::string>> environment;  ///< "NAME=value"; none: as here
  std::vector<int> blocked;  ///< signals; the others reach it, and all do what they do by default
};

/// Starts a program with its arguments, without a shell: one of the PATH, or a path where
/// `command[0]` has a '/'. Throws Error(io).
pid_t spawn(const std::vector<std::string>& command, const SpawnOptions& options);

/// A child of this process: killed and waited for, if nobody has waited, with its holder.
class ChildProcess {
 public:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void kill() const noexcept;
  /// What waitpid says of it once it has ended, and nothing while it runs.
  std::optional<int> poll();
  /// The same, after waiting for its end.
  int wait();

 private:
  std::optional<int> wait_with(int flags);

  pid_t pid_;
  std::optional<int> status_;
};

}  // namespace recallbench
