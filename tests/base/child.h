#pragma once

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <exception>

namespace recallbench {

/// Runs `action`, an int(), in a forked child and returns its result (0 to 255) as the exit status;
/// 250 if it throws, -1 if it dies otherwise. `pid` gets the child's number.
template <class Action>
int in_child(Action action, pid_t* pid = nullptr) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      ::_exit(action());
    } catch (const std::exception&) {
      ::_exit(250);
    }
  }
  if (pid != nullptr) *pid = child;
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

}  // namespace recallbench
