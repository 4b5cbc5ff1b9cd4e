#include "sweeps/run/sweep.h"

#include "sweeps/run/exit_code.h"
#include "sweeps/store/layout.h"
#include "sweeps/store/summary_file.h"

namespace recallbench {

SweepOutcome run_sweep(const SweepRequest& request, Progress& progress) {
  prepare_results_folder(request.driver.results);
  const Manifest manifest = update_manifest(request.driver.results, request.name, request.runs);
  SweepOutcome outcome = run_all(manifest, request.driver, progress);
  if (!outcome.io_problem)
    write_summary_file(request.driver.results, collect_rows(request.driver.results, manifest));
  return outcome;
}

int exit_code_of(const SweepOutcome& outcome) {
  if (outcome.io_problem) return kResults;
  if (outcome.signal != 0) return kInterrupted;
  return outcome.counts.failed > 0 ? kSomeFailed : kDone;
}

}  // namespace recallbench
