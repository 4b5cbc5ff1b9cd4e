#pragma once

#include <string>

#include "sweeps/run/driver.h"
#include "sweeps/run/running.h"

namespace recallbench {

/// What became of the runs of a request: counted, told to progress, and, where one failed, recorded
/// in its folder.
class Ledger {
 public:
  Ledger(std::string results, Progress& progress)
      : results_(std::move(results)), progress_(progress) {}

  /// Enters a run that had a result before, or something unreadable in its place; false where there
  /// is neither, so that it is to be computed.
  bool enter_earlier(const std::string& id, const std::string& label);
  /// Enters the result that a run has now, which began at `started`.
  void enter_result(const Job& job, double started);
  /// Enters a run without one. The reason goes into failure.json, unless another process has taken
  /// the run up meanwhile.
  void enter_failure(const Job& job, const std::string& reason);

  SweepOutcome outcome;
  double work_left = 0;  ///< of the runs that are to be computed

 private:
  void enter_unreadable(const std::string& label, const std::string& problem);
  void tell(const std::string& status, const std::string& label, const std::string& what);

  std::string results_;
  Progress& progress_;
};

}  // namespace recallbench
