#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sweeps/train/train_run.h"

namespace recallbench {

/// What trains the runs of a worker: train_population, or a stand-in for it.
using RunTrainer = std::function<std::vector<RunResult>(const std::vector<TrainMember>&)>;

struct WorkerOptions {
  std::string results;  ///< the sweep's folder
  int threads = 1;
  int parent = 0;            ///< process whose end stops this one; 0: none
  int messages = -1;         ///< descriptor for progress; -1: none
  bool record_host = false;  ///< put the host's name into timing.json
  Device device = Device::cpu;
  std::string device_kind = "cpu";  ///< for result.json: "cpu", or the GPU's name
};

/// Exit code of a worker of whose runs another process is computing one.
inline constexpr int kHeldElsewhere = 76;

/// Computes the runs whose to_json() are the lines of `configs`, together, each into its folder:
/// under its lock, from its checkpoint where there is one, metrics.jsonl as it goes, at its end
/// timing.json, then result.json. Leaves out those whose result is there. Returns the process' exit
/// code: kDone, kInterrupted (SIGTERM came, the parent ended, or nobody reads the messages any
/// more; checkpoints are saved) or kHeldElsewhere. Throws what the trainer throws, and Error(io).
int run_worker(const std::string& configs, const WorkerOptions& options, const RunTrainer& trainer);

}  // namespace recallbench
