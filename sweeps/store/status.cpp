#include "sweeps/store/status.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/line_file.h"
#include "kernels/base/io/posix.h"
#include "sweeps/store/labels.h"
#include "sweeps/store/record.h"

namespace recallbench {
namespace {

std::string why_missing(const RunPaths& paths) {
  if (!path_exists(paths.checkpoint) && !path_exists(paths.checkpoint_before)) return kNotStarted;
  return "stopped; goes on from its checkpoint when the sweep is started again";
}

RunStatus status_of(const std::string& results, const std::string& id) {
  RunStatus status;
  status.run_id = id;
  const StoredResult stored = read_result(results, id);
  if (stored.record) {
    const bool diverged = stored.record->result.status == "diverged";
    status.state = diverged ? RunState::diverged : RunState::done;
    status.reason = stored.record->result.reason;
  } else if (!stored.problem.empty()) {
    status.state = RunState::unreadable;
    status.reason = stored.problem;
  } else if (run_is_locked(results, id)) {
    status.state = RunState::running;
  } else if (const auto failure = read_failure(results, id)) {
    status.state = RunState::failed;
    status.reason = failure->reason;
  } else {
    status.reason = why_missing(run_paths(results, id));
  }
  return status;
}

}  // namespace

const char* to_string(RunState state) {
  switch (state) {
    case RunState::done:
      return "done";
    case RunState::diverged:
      return "diverged";
    case RunState::running:
      return "running";
    case RunState::failed:
      return "failed";
    case RunState::unreadable:
      return "unreadable";
    case RunState::missing:
      break;
  }
  return "missing";
}

bool run_is_locked(const std::string& results, const std::string& id) {
  const std::string path = run_paths(results, id).lock;
  const FileDescriptor file = open_at(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file.is_open()) {
    if (errno == ENOENT) return false;
    fail_system(ErrorKind::io, "open the lock", path, errno);
  }
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(file.get(), F_OFD_GETLK, &whole) != 0)
    fail_system(ErrorKind::io, "look at the lock", path, errno);
  return whole.l_type != F_UNLCK;
}

std::vector<RunStatus> run_statuses(const std::string& results, const Manifest& manifest) {
  const RunLabels labels = make_labels(manifest.runs);
  std::vector<RunStatus> statuses;
  for (std::size_t i = 0; i < manifest.runs.size(); ++i) {
    statuses.push_back(status_of(results, run_id(manifest.runs[i])));
    statuses.back().label = labels.run[i];
  }
  return statuses;
}

std::int64_t count_state(const std::vector<RunStatus>& statuses, RunState state) {
  return std::count_if(statuses.begin(), statuses.end(),
                       [&](const RunStatus& status) { return status.state == state; });
}

}  // namespace recallbench
