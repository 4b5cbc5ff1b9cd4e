#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sweeps/store/layout.h"
#include "sweeps/train/train_run.h"

namespace recallbench {

/// What result.json holds: a function of config and kind of device alone.
struct RunRecord {
  std::string run_id;
  std::string config;  ///< canonical JSON; run_id is its hash
  std::string device = "cpu";
  std::string code_version;
  RunResult result;  ///< status "done" or "diverged"
};

/// The record of a run that ended in this process, on that kind of device.
RunRecord make_record(const RunConfig& config, const RunResult& result,
                      const std::string& device = "cpu");

/// result.json's text: indented, with a checksum over everything else in it.
std::string record_text(const RunRecord& record);

/// Reads it back strictly: every key known and there, the checksum right, run_id the hash of the
/// config and equal to `id`. `source` names it in messages. Throws Error(io).
RunRecord parse_record(const std::string& text, const std::string& source, const std::string& id);

/// What stands in the place of a run's result: neither of the two where there is nothing yet.
struct StoredResult {
  std::optional<RunRecord> record;
  std::string problem;  ///< why the file, which it names, cannot be read, and what to do
};

/// The result of run `id`. A file that is torn, foreign or changed is a problem of that run alone.
StoredResult read_result(const std::string& results, const std::string& id);

/// timing.json's text.
struct TimingRecord {
  RunTiming timing;
  int threads = 1;
  std::int64_t resumed_epochs = 0;  ///< epochs that earlier processes had done
  std::string started, ended;       ///< UTC, ISO 8601
  std::string processor;            ///< "AMD EPYC 7763 64-Core Processor", "NVIDIA H200"
  std::optional<std::string> host;  ///< only where it was asked for
};
std::string timing_text(const TimingRecord& record);

/// Why a run has no result: failure.json.
struct Failure {
  std::string reason;         ///< one line
  std::int64_t attempts = 1;  ///< so far
};
std::string failure_text(const Failure& failure);
/// A file that cannot be read is a failure for that reason.
std::optional<Failure> read_failure(const std::string& results, const std::string& id);

}  // namespace recallbench
