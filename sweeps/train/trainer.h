#pragma once

#include <map>
#include <memory>
#include <vector>

#include "mixers/model.h"
#include "sweeps/train/run_data.h"
#include "sweeps/train/train_run.h"

namespace recallbench {

/// A model under training: graphs by batch shape over one arena, the current batch, the optimizer.
/// Trains a population of one replica.
class Trainer {
 public:
  /// Draws the initial values.
  Trainer(const ModelConfig& model, std::uint64_t seed);

  Model& model() { return model_; }
  /// Optimizer steps done; set when a checkpoint is loaded.
  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }

  /// One AdamW step on examples [first, first + count) of `data`, padded to `batch_size`; returns
  /// the loss before it. Allocates nothing once a batch of that shape has been seen.
  double train_batch(const Dataset& data, std::int64_t first, std::int64_t count,
                     std::int64_t batch_size, double lr, double weight_decay);

  /// Loss and accuracies over all segments, in batches of at most `batch_size` examples.
  SplitMetrics evaluate(const std::vector<RunSegment>& segments, std::int64_t batch_size);

  /// Most bytes that graphs of this trainer use at a time, parameters not counted.
  std::size_t arena_bytes() const { return arena_.size(); }

 private:
  struct Key {
    std::int64_t examples, length, labels;
    bool training;
    auto operator<=>(const Key&) const = default;
  };
  struct Recorded {
    Graph graph;
    RecordedLoss out;
    std::vector<Parameter> updated;
  };
  Recorded& recorded(const Key& key);
  Batch load(const Dataset& data, std::int64_t first, std::int64_t count, std::int64_t batch_size);

  Model model_;
  std::uint64_t seed_;
  std::int64_t steps_ = 0;
  Arena arena_;
  std::map<Key, std::unique_ptr<Recorded>> graphs_;
  std::vector<std::int32_t> tokens_, positions_, targets_;
  std::vector<float> weights_;
};

}  // namespace recallbench
