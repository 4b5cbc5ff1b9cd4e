#pragma once

#include "sweeps/run/driver.h"

namespace recallbench {

struct SweepRequest {
  std::string name;             ///< the sweep's
  std::vector<RunConfig> runs;  ///< all different
  bool add = false;             ///< to what was asked of the folder before, instead of in its place
  DriverOptions driver;
};

/// The whole of a sweep but its figures: the folder tried and prepared, the request entered into
/// the manifest, every run without a result computed, summary.csv rebuilt from the results.
/// Running it again goes on where it stopped. Throws Error(usage) and Error(io).
SweepOutcome run_sweep(const SweepRequest& request, Progress& progress);

/// The exit code that `outcome` means: kDone, kSomeFailed, kResults or kInterrupted.
int exit_code_of(const SweepOutcome& outcome);

}  // namespace recallbench
