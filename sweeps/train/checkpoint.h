#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/base/io/safetensors.h"
#include "kernels/graph/parameters.h"
#include "sweeps/store/layout.h"
#include "sweeps/train/train_run.h"

namespace recallbench {

/// Where a run stands, beside weights and moments.
struct TrainPosition {
  std::int64_t epoch = 0;            ///< the current one
  std::int64_t batch = 0;            ///< batches of it that are done
  std::int64_t steps = 0;            ///< optimizer steps done
  double loss_sum = 0;               ///< of the batches that are done
  std::vector<EpochMetrics> epochs;  ///< validated so far
};

/// Checkpoints of one run: `checkpoint.safetensors` and the one before it, each whole or absent.
/// They hold float32 weights under the names of the parameters, the optimizer's moments under
/// `adamw.m/<name>` and `adamw.v/<name>`, and the position as metadata.
class CheckpointFolder {
 public:
  /// "" saves and loads nothing. `id` (of the run) and code_version() go into the metadata and are
  /// compared: what one program began, another does not end.
  CheckpointFolder(const std::string& directory, std::string id);

  void save(const Parameters& parameters, Index replica, const TrainPosition& position);
  /// Weights alone, for use elsewhere. What is needed to resume stays beside them until
  /// `drop_resumable`: the run's result is not written yet.
  void save_final(const Parameters& parameters, Index replica);
  void drop_resumable();
  /// Reads the newest checkpoint that is whole, and holds it for load_weights; false where there
  /// is none, or none of this program, which the standard error then says.
  bool load_position(TrainPosition& position);
  /// Fills in weights and moments of what load_position has read, and lets go of it.
  void load_weights(Parameters& parameters, Index replica);

 private:
  void keep_newest();

  RunPaths paths_;
  std::string id_;
  bool newest_resumes_ = false;  ///< as far as this object knows
  std::optional<Safetensors> loaded_;
};

}  // namespace recallbench
