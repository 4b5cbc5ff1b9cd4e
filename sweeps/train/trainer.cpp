#include "sweeps/train/trainer.h"

#include "sweeps/train/cpu_trainer.h"
#include "sweeps/train/cuda/cuda_trainer.h"

namespace recallbench {

Trainer::Trainer(const ModelConfig& model, const std::vector<std::uint64_t>& seeds,
                 const std::vector<const RunData*>& data, const Compute& compute)
    : model_(model, DType::f32, static_cast<Index>(seeds.size()), compute.device),
      seeds_(seeds),
      data_(data),
      compute_(compute),
      arena_(compute.device) {
  check(!seeds.empty() && seeds.size() == data.size(), "Trainer",
        "expected a seed and data for each replica, got {} and {}", seeds.size(), data.size());
  for (std::size_t r = 0; r < seeds.size(); ++r)
    model_.parameters().initialise(static_cast<Index>(r), seeds[r]);
}

std::unique_ptr<Trainer> Trainer::make(const ModelConfig& model,
                                       const std::vector<std::uint64_t>& seeds,
                                       const std::vector<const RunData*>& data,
                                       const Compute& compute) {
  if constexpr (kCudaBuild)
    if (compute.device == Device::cuda) return make_cuda_trainer(model, seeds, data, compute);
  return std::make_unique<CpuTrainer>(model, seeds, data, compute);
}

Trainer::Recorded& Trainer::recorded(const Key& key) {
  std::unique_ptr<Recorded>& slot = graphs_[key];
  if (!slot) {
    slot = std::make_unique<Recorded>(Recorded{Graph(model_.parameters(), key.training), {}, {}});
    slot->graph.set_precision(compute_.precision);
    slot->out = model_.record_loss(slot->graph, key.examples, key.length, key.labels);
    slot->graph.finish(arena_);
    for (int id = 0; id < model_.parameters().count(); ++id)
      if (slot->graph.uses({id})) slot->updated.push_back({id});
  }
  return *slot;
}

const std::vector<RunSegment>& Trainer::segments(Split split, Index replica) const {
  const RunData& data = *data_[static_cast<std::size_t>(replica)];
  return split == Split::train ? data.train : split == Split::valid ? data.valid : data.test;
}

Trainer::Key Trainer::key_of(Split split, std::size_t segment, std::int64_t size) const {
  const TaskShape& shape = segments(split, 0)[segment].data.shape();
  return {size, shape.input_seq_len, shape.labels_per_example, split == Split::train};
}

}  // namespace recallbench
