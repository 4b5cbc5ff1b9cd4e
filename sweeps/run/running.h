#pragma once

#include <functional>
#include <optional>
#include <string>

#include "sweeps/run/child.h"
#include "sweeps/run/messages.h"

namespace recallbench {

/// One run of a request.
struct Job {
  const RunConfig* config = nullptr;
  std::string id, label;
  double work = 0;  ///< as estimated_work gives it
};

/// A child that computes one. Times in seconds of the monotonic clock.
struct Running {
  const Job* job = nullptr;
  Child child;
  int threads = 1;
  double started = 0;
  double kill_at = 0;   ///< when SIGTERM for running too long turns into SIGKILL; 0: not sent
  long log_offset = 0;  ///< where this child's lines begin in run.log
  std::string buffer;   ///< the beginning of a message
  double fraction = 0;  ///< of its steps, done
};

/// Seconds of the monotonic clock.
double monotonic_seconds();

/// Takes what the child has sent, without waiting.
void read_messages(Running& running, const std::function<void(const WorkerMessage&)>& on_message);

/// Stops a child that runs longer than `limit_s`: SIGTERM, SIGKILL 10 s later.
void enforce_timeout(Running& running, double limit_s);

/// What waitpid's status says about a child that left no result.
struct ChildEnd {
  int code = -1;   ///< exit code; -1: it was killed
  int signal = 0;  ///< that killed it
};
ChildEnd child_end(int status);

/// Why the run has no result: one line, with the last line of `log`.
std::string failure_reason(const Running& running, const ChildEnd& end, const std::string& log,
                           double limit_s);

}  // namespace recallbench
