#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sweeps/train/train_run.h"

namespace recallbench {

/// What trains a run: train_run, or a stand-in for it.
using Trainer = std::function<RunResult(const RunConfig&, const TrainHooks&, RunTiming*,
                                        std::vector<EpochMetrics>*)>;

struct WorkerOptions {
  std::string results;  ///< the sweep's folder
  int threads = 1;
  int parent = 0;            ///< process whose end stops this one; 0: none
  int messages = -1;         ///< descriptor for progress; -1: none
  bool record_host = false;  ///< put the host's name into timing.json
};

/// Exit code of a worker whose run another process is computing.
inline constexpr int kHeldElsewhere = 76;

/// Computes the run whose to_json() is `config`, into its folder: under its lock, from its
/// checkpoint where there is one, metrics.jsonl as it goes, at the end timing.json, then
/// result.json. Does nothing if the result is there. Returns the process' exit code: kDone,
/// kInterrupted (SIGTERM came, the parent ended, or nobody reads the messages any more; a
/// checkpoint is saved) or kHeldElsewhere. Throws what the trainer throws, and Error(io).
int run_worker(const std::string& config, const WorkerOptions& options, const Trainer& trainer);

}  // namespace recallbench
