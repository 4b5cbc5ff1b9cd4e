#pragma once

#include "kernels/graph/batch.h"
#include "kernels/tensor/arena.h"

namespace recallbench {

/// A batch of R replicas whose arrays are the host's, for the device of `memory`: on the CPU `host`
/// itself, on a GPU one whose arrays lie in `memory`, which lives as long as they are used. Null
/// arrays stay null. For single replays; training gathers its batches on the device.
Batch batch_on_device(const Batch& host, Index replicas, Arena& memory);

}  // namespace recallbench
