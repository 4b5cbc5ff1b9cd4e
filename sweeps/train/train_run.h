#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/tensor/device.h"
#include "sweeps/config/run_config.h"
#include "sweeps/train/preparation.h"

namespace recallbench {

/// Loss and accuracy over one split, overall and by slice.
struct SplitMetrics {
  double loss = 0;      ///< plain mean of batch losses (nats)
  double accuracy = 0;  ///< acc_example: mean over examples of the share of right labels
  std::int64_t examples = 0, labels = 0;
  /// slice key → value → accuracy of that slice.
  std::map<std::string, std::map<std::int64_t, double>> slices;
};

/// What one epoch came to: a line of metrics.jsonl.
struct EpochMetrics {
  std::int64_t epoch = 0;  ///< from 0
  std::int64_t step = 0;   ///< optimizer steps done so far
  double lr = 0;
  double train_loss = 0;  ///< mean over the epoch's batches
  SplitMetrics valid;
};

/// All that a run came to; a function of config and kind of device alone, except `timing`.
struct RunResult {
  std::string status;  ///< "done", "diverged" or "interrupted"
  std::string reason;  ///< "max_epochs", "early_stopping", "the training loss was nan at step 17"
  std::int64_t epochs = 0, steps = 0;
  SplitMetrics valid, test;
  double chance = 0;                            ///< of the test data
  std::int64_t num_parameters = 0;              ///< trainable numbers, shared ones once
  std::int64_t state_bytes = 0;                 ///< measured at the longest test length
  std::optional<double> published_state_bytes;  ///< by the reference's formulas
  std::int64_t state_length = 0;                ///< that longest test length
};

/// Durations and sizes of this execution; never part of the result.
struct RunTiming {
  double total_s = 0, setup_s = 0, train_s = 0, eval_s = 0, data_s = 0;
  double ahead_s = 0;  ///< before: preparing and waiting while the device was another's
  double examples_per_s = 0, tokens_per_s = 0;
  std::int64_t peak_rss_bytes = 0;
};

struct TrainProgress {
  std::int64_t epoch, max_epochs, step, steps_per_epoch;
  double tokens_per_s;
};

/// How a run talks to its surroundings. All are optional.
struct TrainHooks {
  std::function<void(const std::vector<EpochMetrics>&)> on_resume;  ///< what a checkpoint holds
  std::function<void(const TrainProgress&)> on_step;  ///< at most a few times a second
  std::function<void(const EpochMetrics&)> on_epoch;  ///< after each validation
  /// Once the run is done or has diverged, though others of its population may train on.
  std::function<void(const RunResult&, const RunTiming&)> on_end;
  /// Polled once a step, and by any thread every few milliseconds while large data are made.
  StopRequested stop_requested;
  std::string checkpoint_directory;  ///< resume from and save to; "" for neither
  std::string data_cache;            ///< folder for data that several processes share; "" for none
  int threads = 1;                   ///< of the CPU, for training and for data
  Device device = Device::cpu;
};

/// Where and how a trainer computes.
struct Compute {
  Device device = Device::cpu;
  Precision precision = Precision::fp32;
};

/// One run of a population.
struct TrainMember {
  const RunConfig* config;
  TrainHooks hooks;
};

/// Trains runs that differ in learning rate, weight decay and seeds alone (`same_shape`) together,
/// in lockstep by epoch; each gets the result and, on one device, the bits that it gets alone. Runs
/// whose checkpoints stand at different places form populations of their own, one after another.
/// A request to stop from any member stops all. What `prepared` lacks is made here; the timing
/// counts from its beginning, but for `ahead_s`.
std::vector<RunResult> train_population(const std::vector<TrainMember>& members,
                                        Preparation prepared = {});

/// Whether two runs can be of one population.
bool same_shape(const RunConfig& a, const RunConfig& b);

/// Trains, validates and tests one run in this process. With a checkpoint in
/// `checkpoint_directory` it goes on from there, with the same bits as if it had never stopped.
/// When stop_requested says so it saves a checkpoint after the step and returns "interrupted";
/// while its data are made it ends within a second and keeps the checkpoint that it has.
RunResult train_run(const RunConfig& config, const TrainHooks& hooks);

}  // namespace recallbench
