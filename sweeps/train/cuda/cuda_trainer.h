#pragma once

#include "sweeps/train/trainer.h"

namespace recallbench {

/// A trainer on the GPU: data live there, a whole step (batch, forward, backward, optimizer,
/// metrics) is one captured graph for each batch shape, and within an epoch nothing waits. `from`
/// (or nullptr) as Trainer::make takes it.
std::unique_ptr<Trainer> make_cuda_trainer(const ModelConfig& model,
                                           const std::vector<std::uint64_t>& seeds,
                                           const std::vector<const RunData*>& data,
                                           const Compute& compute, const Trainer* from);

}  // namespace recallbench
