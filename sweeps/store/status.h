#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sweeps/store/manifest.h"

namespace recallbench {

/// unreadable: something stands in the place of its result that is none.
enum class RunState { done, diverged, running, failed, unreadable, missing };

/// "done", "diverged", "running", "failed", "unreadable", "missing".
const char* to_string(RunState state);

struct RunStatus {
  std::string run_id;
  std::string label;  ///< as make_labels gives it
  RunState state = RunState::missing;
  std::string reason;  ///< why it ended, failed, cannot be read, or is missing
};

/// The reason of a missing run that no process has begun.
inline constexpr const char* kNotStarted = "not started";

/// The state of every run of the manifest's latest request, in its order. Reads only, and holds
/// no lock. Throws Error(io).
std::vector<RunStatus> run_statuses(const std::string& results, const Manifest& manifest);

/// Whether a process holds the lock of run `id`, and so computes it. Takes no lock itself. Throws
/// Error(io).
bool run_is_locked(const std::string& results, const std::string& id);

/// How many of them are in this state.
std::int64_t count_state(const std::vector<RunStatus>& statuses, RunState state);

}  // namespace recallbench
