#pragma once

#include <deque>
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

/// Runs that train together.
using Group = std::vector<const Job*>;

/// Each job, in order, into the first group of its shape with room, or a new one. `population` says
/// how many runs of a shape train together; 1 where it is empty.
std::deque<Group> make_groups(const std::vector<const Job*>& jobs,
                              const std::function<std::int64_t(const RunConfig&)>& population);

/// A child that computes one run, or several of one shape together. Times in seconds of the
/// monotonic clock.
struct Running {
  Group jobs;
  Child child;
  int threads = 1;
  int gpu = -1;  ///< that it has; -1 on the CPU
  double started = 0;
  double kill_at = 0;  ///< when SIGTERM for running too long turns into SIGKILL; 0: not sent
  std::vector<long> log_offsets;  ///< where this child's lines begin in the run.log of each job
  std::string buffer;             ///< the beginning of a message
  double fraction = 0;            ///< of its steps, done

  double work() const;
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

/// Why its runs have no result: one line, with the last line after `log_offset` of `log`.
std::string failure_reason(const Running& running, const ChildEnd& end, const std::string& log,
                           long log_offset, double limit_s);

}  // namespace recallbench
