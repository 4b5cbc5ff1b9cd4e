#pragma once

#include <csignal>

namespace recallbench {

/// While it lives: SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD and SIGWINCH are blocked and come out
/// of `descriptor()` instead, but for those that whoever started this process had ignored, as nohup
/// has SIGHUP: they stay so. The destructor puts the mask back; where one came that stops a sweep,
/// later ones are ignored from then on: what is left is the end of this process.
class SignalGuard {
 public:
  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

  /// Readable where a signal waits.
  int descriptor() const { return descriptor_; }
  /// The next waiting signal, 0 if there is none.
  int next();

 private:
  int descriptor_ = -1;
  bool stops_ = false;  // SIGINT, SIGTERM, SIGHUP or SIGUSR1 came
  sigset_t previous_mask_;
};

/// For the rest of the process: SIGPIPE and SIGXFSZ are ignored, so that they become errors of the
/// call that met them; SIGCHLD is not, with which no child could be waited for.
void prepare_signals();

/// For a child process: SIGTERM sets a flag, SIGPIPE and SIGXFSZ are ignored; SIGTERM comes too
/// when `parent` (0: none) ends, however it ends.
void prepare_child_signals(int parent);

/// Whether SIGTERM came, or `request_stop` was called. Async-signal-safe, and for any thread.
bool stop_is_requested();
void request_stop();

}  // namespace recallbench
