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
  /// On a GPU one child at a time has its turn; the next prepares itself and waits. On the CPU all
  /// have theirs at once.
  enum class Turn { ahead, now, over };

  Group jobs;
  std::string label;
  Child child;
  int threads = 1;
  int gpu = -1;  ///< on which it has its turn; -1 on the CPU
  Turn turn = Turn::ahead;
  bool waited = false;    ///< started while another had that GPU
  bool begun = false;     ///< it has said that it begins its turn
  bool recalled = false;  ///< stopped ahead of its turn, for another GPU has none that waits
  double started = 0;     ///< its turn
  double kill_at = 0;     ///< when SIGTERM for running too long turns into SIGKILL; 0: not sent
  std::string log;        ///< the run.log of its first run, where it writes
  long log_offset = 0;    ///< where its lines begin there
  std::string buffer;     ///< the beginning of a message
  double fraction = 0;    ///< of its steps, done

  double work() const;
};

/// Starts a child that computes `jobs` with `worker` (see DriverOptions); it waits for its turn.
/// Throws Error(io).
Running start_child(const Group& jobs, const std::vector<std::string>& worker,
                    const std::string& results, int threads, int gpu);

/// Seconds of the monotonic clock.
double monotonic_seconds();

/// Takes what the child has sent, without waiting.
void read_messages(Running& running, const std::function<void(const WorkerMessage&)>& on_message);

/// Stops a child that runs longer than `limit_s` from its turn: SIGTERM, SIGKILL 10 s later.
void enforce_timeout(Running& running, double limit_s);

/// Whether a child that was to wait for its turn has ended without having begun it: before that was
/// given, or so shortly after it that its driver could not know. One that took too long to begin
/// has not.
bool ended_ahead(const Running& running);

/// Seconds until the child must be looked at, though it says nothing: for its `limit_s` (0: none),
/// or because it is ending.
double seconds_to_look(const Running& running, double limit_s);

/// What waitpid's status says about a child that left no result.
struct ChildEnd {
  int code = -1;   ///< exit code; -1: it was killed
  int signal = 0;  ///< that killed it
};
ChildEnd child_end(int status);

/// Why its runs have no result: one line, with the last line that it wrote into its log.
std::string failure_reason(const Running& running, const ChildEnd& end, double limit_s);

}  // namespace recallbench
