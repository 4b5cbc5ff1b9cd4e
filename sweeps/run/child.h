#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "kernels/base/io/posix.h"

namespace recallbench {

/// A child process that was started with `spawn_child`.
struct Child {
  pid_t pid = -1;
  FileDescriptor messages;  ///< read end of the pipe that the child has as kMessageDescriptor
  FileDescriptor turn;      ///< write end of the pipe that the child has as kTurnDescriptor
};

/// The descriptors on which a child finds the pipes to and from its parent.
inline constexpr int kMessageDescriptor = 3, kTurnDescriptor = 4;

/// Starts `command` (program and arguments, no shell) with `input` as its standard input, standard
/// output and error appended to the file `log`, and no other descriptors than the two pipes; all
/// signals as by default, but SIGINT, SIGHUP and SIGUSR1 blocked: terminals and schedulers send
/// them to every process, and the parent answers for all. Throws Error(io).
Child spawn_child(const std::vector<std::string>& command, const std::string& input,
                  const std::string& log);

/// "SIGSEGV" for 11; "signal 40" for one without a name.
std::string signal_name(int number);

/// The last line with something printable in it among the last 4 KiB that `path` holds after
/// `offset` bytes; control characters replaced, others than ASCII too, at most 300 bytes; empty
/// where there is none.
std::string last_log_line(const std::string& path, long offset);

}  // namespace recallbench
