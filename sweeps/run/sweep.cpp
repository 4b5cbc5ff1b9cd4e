#include "sweeps/run/sweep.h"

#include <filesystem>

#include "sweeps/run/exit_code.h"
#include "sweeps/run/signals.h"
#include "sweeps/store/layout.h"
#include "sweeps/store/summary_file.h"

namespace recallbench {

SweepOutcome run_sweep(const SweepRequest& request, Progress& progress) {
  prepare_signals();
  prepare_results_folder(request.driver.results);
  const std::string& results = request.driver.results;
  const Manifest manifest = update_manifest(results, request.name, request.runs, request.add);
  SweepOutcome outcome = run_all({request.name, request.runs, {}}, request.driver, progress);
  if (!outcome.io_problem)
    outcome.summary_is_new = write_summary_file(results, collect_rows(results, manifest));
  if (outcome.counts.done == outcome.counts.total) {
    std::error_code ignored;  // what stays is only room that it takes
    std::filesystem::remove_all(cache_path(results), ignored);
  }
  return outcome;
}

int exit_code_of(const SweepOutcome& outcome) {
  if (outcome.io_problem) return kResults;
  if (outcome.signal != 0) return kInterrupted;
  return outcome.counts.failed > 0 ? kSomeFailed : kDone;
}

}  // namespace recallbench
