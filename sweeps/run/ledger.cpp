#include "sweeps/run/ledger.h"

#include <fmt/format.h>

#include "kernels/base/io/atomic_file.h"
#include "kernels/base/io/file_lock.h"
#include "kernels/base/text.h"
#include "sweeps/store/record.h"

namespace recallbench {

bool Ledger::enter_earlier(const std::string& id, const std::string& label) {
  const StoredResult stored = read_result(results_, id);
  if (!stored.record && stored.problem.empty()) return false;
  if (!stored.record) {
    enter_unreadable(label, stored.problem);
    return true;
  }
  ++outcome.counts.done;
  ++outcome.already;
  ++outcome.programs[stored.record->code_version];
  if (stored.record->result.status == "diverged") ++outcome.counts.diverged;
  return true;
}

void Ledger::enter_result(const Job& job, double started) {
  const StoredResult stored = read_result(results_, job.id);
  if (!stored.record && stored.problem.empty())
    return enter_failure(job, "its result.json has vanished");
  work_left -= job.work;
  if (!stored.record) {
    enter_unreadable(job.label, stored.problem);
    return tell("unreadable", job.label, printable(stored.problem, 1000));
  }
  const RunResult& result = stored.record->result;
  ++outcome.counts.done;
  const bool diverged = result.status == "diverged";
  if (diverged) ++outcome.counts.diverged;
  const std::string what =
      diverged ? result.reason
               : fmt::format("accuracy {:.3f}, {} epoch{} ({})", result.test.accuracy,
                             result.epochs, result.epochs == 1 ? "" : "s", result.reason);
  tell(result.status, job.label,
       fmt::format("{}, {}", printable(what), duration_text(monotonic_seconds() - started)));
}

void Ledger::enter_failure(const Job& job, const std::string& reason) {
  ++outcome.counts.failed;
  work_left -= job.work;
  const RunPaths paths = run_paths(results_, job.id);
  try {
    if (const auto lock = FileLock::try_lock(paths.lock); lock && !path_exists(paths.result)) {
      const auto earlier = read_failure(results_, job.id);
      publish(paths.failure, failure_text({reason, earlier ? earlier->attempts + 1 : 1}));
    }
  } catch (const Error& error) {
    if (!outcome.io_problem) outcome.io_problem = error.what();
  }
  outcome.failures.push_back(job.label + ": " + reason);
  tell("failed", job.label, reason);
}

void Ledger::enter_unreadable(const std::string& label, const std::string& problem) {
  ++outcome.counts.failed;
  outcome.unreadable.push_back(label + ": " + problem);
}

void Ledger::tell(const std::string& status, const std::string& label, const std::string& what) {
  progress_.note(fmt::format("[{}/{}] {:<8}  {}: {}", outcome.counts.done + outcome.counts.failed,
                             outcome.counts.total, status, label, what),
                 monotonic_seconds());
}

}  // namespace recallbench
