#include "sweeps/train/trainer.h"

#include <algorithm>

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
}

void Trainer::initialise(const std::map<std::uint64_t, std::vector<float>>& drawn) {
  Parameters& parameters = model_.parameters();
  for (Index r = 0; r < replicas(); ++r) {
    const auto here = seeds_.begin() + r;
    const auto twin = std::find(seeds_.begin(), here, *here);
    if (const auto found = drawn.find(*here); found != drawn.end())
      parameters.set_slab(Slot::value, r, found->second);
    else if (twin != here)
      parameters.set_slab(Slot::value, r, parameters.get_slab(Slot::value, twin - seeds_.begin()));
    else
      parameters.initialise(r, *here);
  }
}

std::unique_ptr<Trainer> Trainer::make(const ModelConfig& model,
                                       const std::vector<std::uint64_t>& seeds,
                                       const std::vector<const RunData*>& data,
                                       const Compute& compute,
                                       [[maybe_unused]] const Trainer* from) {
  if constexpr (kCudaBuild)
    if (compute.device == Device::cuda) return make_cuda_trainer(model, seeds, data, compute, from);
  return std::make_unique<CpuTrainer>(model, seeds, data, compute);
}

Trainer::Recorded& Trainer::recorded(const Key& key) {
  std::unique_ptr<Recorded>& slot = graphs_[key];
  if (!slot) {
    slot = std::make_unique<Recorded>(Recorded{Graph(model_.parameters(), key.training), {}, {}});
    slot->graph.set_precision(compute_.precision);
    slot->out = model_.record_loss(slot->graph, key.examples, key.length, key.labels);
    slot->graph.finish(arena_);
    slot->updated = slot->graph.used_parameters();
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
