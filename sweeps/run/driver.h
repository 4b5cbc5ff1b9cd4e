#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sweeps/run/progress.h"
#include "sweeps/store/manifest.h"

namespace recallbench {

struct DriverOptions {
  std::string results;    ///< the sweep's folder, prepared (prepare_results_folder)
  int jobs = 1;           ///< cores to use, and on the CPU most runs side by side
  std::vector<int> gpus;  ///< one child works on each, while the next prepares; none: on the CPU
  /// Most runs of this one's shape that train together in a child; 1 where it is empty.
  std::function<std::int64_t(const RunConfig&)> population;
  double run_timeout_s = 0;  ///< longest time of one run in this session; 0: none
  /// Program and arguments of a worker; `--device`, `--results`, `--threads` and `--parent` are
  /// appended.
  std::vector<std::string> worker;
};

/// What became of a request.
struct SweepOutcome {
  SweepCounts counts;
  std::int64_t already = 0;                      ///< of the runs with a result: before this session
  std::map<std::string, std::int64_t> programs;  ///< of these, how many by which code_version
  std::vector<std::string> failures;             ///< "label: reason" of each run that was tried
  std::vector<std::string> unreadable;           ///< the same, where result.json cannot be read
  int signal = 0;                                ///< that stopped the sweep; 0: none did
  std::optional<std::string> io_problem;  ///< why no result could be written; ended the sweep
  bool summary_is_new = false;  ///< summary.csv was written, and differs from what stood there
};

/// Computes every run of `manifest` that has no result in child processes, as many side by side as
/// there are cores (or GPUs), the longest first; runs of one shape together where `population` says
/// so; runs that another process computes are waited for. Where a child fails, its runs are tried
/// again one by one; a run that fails alone is recorded with its reason, and the rest goes on. A
/// result that cannot be read is named, counted as failed and left as it is.
/// While a child trains on a GPU, the next prepares itself and waits; one that fails before its
/// turn is started again on a GPU that is free. SIGINT, SIGTERM, SIGHUP and SIGUSR1 are handed on:
/// children save a checkpoint and the function returns with `signal` set; a second one ends this
/// process at once (status 128 + its number). Throws Error(io).
SweepOutcome run_all(const Manifest& manifest, const DriverOptions& options, Progress& progress);

}  // namespace recallbench
