#pragma once

#include "kernels/base/io/json.h"
#include "sweeps/train/train_run.h"

namespace recallbench {

/// Metrics as they stand in records, metrics.jsonl and checkpoints, and back; readers are strict.
Json to_json(const SplitMetrics& metrics);
SplitMetrics split_from_json(const Json& json);
Json to_json(const EpochMetrics& epoch);
EpochMetrics epoch_from_json(const Json& json);

}  // namespace recallbench
