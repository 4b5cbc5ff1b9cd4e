#pragma once

#include "sweeps/train/trainer.h"

namespace recallbench {

/// Loads each batch on the host and steps through it.
class CpuTrainer : public Trainer {
 public:
  CpuTrainer(const ModelConfig& model, const std::vector<std::uint64_t>& seeds,
             const std::vector<const RunData*>& data, const Compute& compute);
  void train(std::span<const BatchPlace> places, std::span<const double> lr,
             std::span<const double> weight_decay, const AfterSteps& after) override;
  std::vector<SplitMetrics> evaluate(Split split, std::int64_t batch_size) override;

 private:
  Batch load(Split split, const BatchPlace& place);

  std::vector<std::int32_t> tokens_, positions_, targets_;
  std::vector<float> weights_;
  std::vector<double> losses_;
};

}  // namespace recallbench
