#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/io/json.h"
#include "kernels/base/options.h"
#include "mixers/model_config.h"

namespace recallbench {

/// Most tokens of a sequence.
inline constexpr std::int64_t kLongestSequence = 8192;

/// One entry of `train`, `valid` or `test`: a task with its parameters and a number of examples.
struct SegmentConfig {
  std::string task;
  Values options;  ///< the task's own parameters, resolved (defaults filled in)
  std::int64_t num_examples = 1000;
  std::string where;
};

/// `[task]`. `valid` is empty in compat = "zoology", where validation and test are one; elsewhere
/// an absent `valid` means the test segments, drawn from their own stream.
struct TaskConfig {
  std::int64_t train_batch_size = 32;
  std::int64_t test_batch_size = 32;
  std::vector<SegmentConfig> train, valid, test;
  std::uint64_t test_seed = 0;       ///< fixes validation and test data, whatever `seed` is
  std::uint64_t data_seed = 123;     ///< compat only: the reference's DataConfig.seed
  std::string order = "sequential";  ///< sequential, shuffle_batches
};

struct EarlyStopping {
  std::string metric = "accuracy";  ///< accuracy or loss, of the validation data
  double threshold = 0.99;          ///< stop once strictly better
};

/// `[train]`.
struct TrainConfig {
  std::int64_t max_epochs = 32;
  double lr = 1e-3;
  double weight_decay = 0.1;
  std::optional<EarlyStopping> early_stopping;
};

/// One training run, fully resolved: the parameters of tasks and mixers are given with their
/// defaults and, asked for again, resolve to themselves. `run_id` is a hash of its canonical JSON,
/// from which the names (`sweep`, `model_name`) and `where`s are left out.
struct RunConfig {
  std::string sweep;               ///< the recipe's name
  std::string model_name;          ///< the family: `name` of [[sweep.models]]
  std::uint64_t seed = 1;          ///< initialisation, dropout, order and training data
  std::string precision = "fp32";  ///< of products on a GPU: fp32, tf32 or bf16
  /// The recipe leaves `precision` to the device, and `sweep` and `run` still have to choose it.
  bool device_sets_precision = false;
  TaskConfig task;
  ModelConfig model;
  TrainConfig train;
};

/// All that decides the result: defaults filled in, `numerics_version`; no names, paths or devices.
Json canonical(const RunConfig& config);

/// The same as text: keys sorted, shortest round-trip numbers.
std::string canonical_json(const RunConfig& config);

/// "r" + 32 hexadecimal digits: XXH3-128 of canonical_json.
std::string run_id(const RunConfig& config);

/// The whole of it, names included, for manifests and workers; `parse_run_config` reads it back.
std::string to_json(const RunConfig& config);
RunConfig parse_run_config(const std::string& json);

}  // namespace recallbench
