#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sweeps/train/train_run.h"

namespace recallbench {

/// What trains the runs of a worker, or a stand-in for it.
struct RunTrainer {
  /// Before the turn of this process: what needs none of a GPU's memory. May be empty.
  std::function<void(const std::vector<RunConfig>&)> prepare;
  /// In its turn, which came `ahead_s` seconds after `prepare` began. Lets go of all memory of a
  /// GPU.
  std::function<std::vector<RunResult>(const std::vector<TrainMember>&, double ahead_s)> train;
};

struct WorkerOptions {
  std::string results;  ///< the sweep's folder
  int threads = 1;
  int parent = 0;            ///< process whose end stops this one; 0: none
  int messages = -1;         ///< descriptor for progress; -1: none
  int turn = -1;             ///< descriptor to wait at for this process' turn; -1: no need
  bool record_host = false;  ///< put the host's name into timing.json
  Device device = Device::cpu;
  std::string device_kind = "cpu";  ///< for result.json: "cpu", or the GPU's name
};

/// Exit code of a worker of whose runs another process is computing one.
inline constexpr int kHeldElsewhere = 76;

/// prepare_population (on a GPU) and train_population.
RunTrainer population_trainer(const WorkerOptions& options);

/// Computes the runs whose to_json() are the lines of `configs`, together, once its turn has come,
/// before which it writes and locks nothing of theirs; each into its folder: under its lock, from
/// its checkpoint where there is one, metrics.jsonl as it goes, at its end timing.json, then
/// result.json. Leaves out those whose result is there. Returns the process' exit code: kDone,
/// kInterrupted (SIGTERM came, the parent ended, or nobody reads the messages any more; checkpoints
/// are saved) or kHeldElsewhere. Throws what the trainer throws, and Error(io).
int run_worker(const std::string& configs, const WorkerOptions& options, const RunTrainer& trainer);

}  // namespace recallbench
