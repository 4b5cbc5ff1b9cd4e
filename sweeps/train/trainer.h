#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "mixers/model.h"
#include "sweeps/train/run_data.h"
#include "sweeps/train/train_run.h"

namespace recallbench {

/// One step: the same place in every replica's training data. `count` examples, padded to `size`.
struct BatchPlace {
  std::size_t segment;
  std::int64_t first, count, size;
};

/// A population under training: R replicas of one model on data of one shape, each with its own
/// seed, data and rates. A replica's bits are those that it has alone.
class Trainer {
 public:
  /// `data` [R] are borrowed. The parameters are zero. With `from`, a trainer of the same device
  /// and of all these data, what a GPU holds of them is shared.
  static std::unique_ptr<Trainer> make(const ModelConfig& model,
                                       const std::vector<std::uint64_t>& seeds,
                                       const std::vector<const RunData*>& data,
                                       const Compute& compute, const Trainer* from = nullptr);
  virtual ~Trainer() = default;

  /// Gives every replica the initial values of its seed: those in `drawn` (slabs, by seed), or
  /// drawn here, once for replicas of one seed.
  void initialise(const std::map<std::uint64_t, std::vector<float>>& drawn = {});

  Model& model() { return model_; }
  Index replicas() const { return model_.parameters().replicas(); }
  /// Optimizer steps done, when a checkpoint is loaded.
  void set_steps(std::int64_t steps) { steps_ = steps; }

  /// Told the losses before each of some steps, [steps, R]; false asks for no more.
  using AfterSteps = std::function<bool(std::span<const double> losses)>;
  /// An AdamW step at each place in turn, with the rates lr [R] and weight_decay [R]. After a
  /// false some more steps may be done, and are told. On the CPU nothing is allocated once a batch
  /// of that shape has been seen.
  virtual void train(std::span<const BatchPlace> places, std::span<const double> lr,
                     std::span<const double> weight_decay, const AfterSteps& after) = 0;

  /// Loss and accuracies [R] over all segments of a split, in batches of at most `batch_size`.
  virtual std::vector<SplitMetrics> evaluate(Split split, std::int64_t batch_size) = 0;

  /// Most bytes that graphs of this trainer use at a time, parameters not counted.
  std::size_t arena_bytes() const { return arena_.size(); }

 protected:
  /// What a recorded graph depends on.
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

  Trainer(const ModelConfig& model, const std::vector<std::uint64_t>& seeds,
          const std::vector<const RunData*>& data, const Compute& compute);
  Recorded& recorded(const Key& key);
  const std::vector<RunSegment>& segments(Split split, Index replica) const;
  Key key_of(Split split, std::size_t segment, std::int64_t size) const;

  Model model_;
  std::vector<std::uint64_t> seeds_;
  std::vector<const RunData*> data_;
  Compute compute_;
  std::int64_t steps_ = 0;
  Arena arena_;
  std::map<Key, std::unique_ptr<Recorded>> graphs_;
};

}  // namespace recallbench
