#include "sweeps/train/cpu_trainer.h"

#include <algorithm>

#include "kernels/adamw/adamw.h"
#include "sweeps/train/split_tally.h"

namespace recallbench {

CpuTrainer::CpuTrainer(const ModelConfig& model, const std::vector<std::uint64_t>& seeds,
                       const std::vector<const RunData*>& data, const Compute& compute)
    : Trainer(model, seeds, data, compute), losses_(seeds.size()) {
  check(compute.precision == Precision::fp32, "CpuTrainer", "the CPU knows fp32 alone");
}

Batch CpuTrainer::load(Split split, const BatchPlace& place) {
  const Key key = key_of(split, place.segment, place.size);
  const std::int64_t tokens = key.examples * key.length, labels = key.examples * key.labels;
  const auto resize = [&](auto& vector, std::int64_t size) {
    const auto wanted = static_cast<std::size_t>(replicas() * size);
    if (vector.size() < wanted) vector.resize(wanted);
  };
  resize(tokens_, tokens);
  for (auto* vector : {&positions_, &targets_})
    resize(*vector, labels);
  resize(weights_, labels);
  const std::int64_t filled_tokens = place.count * key.length,
                     filled_labels = place.count * key.labels;
  for (Index r = 0; r < replicas(); ++r) {
    std::int32_t* const t = tokens_.data() + r * tokens;
    std::int32_t* const p = positions_.data() + r * labels;
    std::int32_t* const y = targets_.data() + r * labels;
    float* const w = weights_.data() + r * labels;
    segments(split, r)[place.segment].data.copy_batch(place.first, place.count, t, p, y, w);
    // A short last batch is filled up with examples of weight 0.
    std::fill(t + filled_tokens, t + tokens, 0);
    std::fill(p + filled_labels, p + labels, 0);
    std::fill(y + filled_labels, y + labels, 0);
    std::fill(w + filled_labels, w + labels, 0.0f);
  }
  return {.examples = key.examples,
          .length = key.length,
          .labels = key.labels,
          .tokens = tokens_.data(),
          .positions = positions_.data(),
          .targets = targets_.data(),
          .weights = weights_.data(),
          .step = static_cast<std::uint32_t>(steps_),
          .seeds = seeds_};
}

void CpuTrainer::train(std::span<const BatchPlace> places, std::span<const double> lr,
                       std::span<const double> weight_decay, const AfterSteps& after) {
  for (const BatchPlace& place : places) {
    Recorded& r = recorded(key_of(Split::train, place.segment, place.size));
    r.graph.forward(load(Split::train, place));
    for (std::size_t i = 0; i < losses_.size(); ++i)
      losses_[i] = *r.graph.value<float>(r.out.loss).replica(static_cast<Index>(i)).data;
    r.graph.backward();
    adamw_step(model_.parameters(), r.updated, lr, weight_decay, ++steps_);
    if (!after(losses_)) return;
  }
}

std::vector<SplitMetrics> CpuTrainer::evaluate(Split split, std::int64_t batch_size) {
  std::vector<SplitTally> tallies(static_cast<std::size_t>(replicas()));
  for (std::size_t s = 0; s < segments(split, 0).size(); ++s) {
    const std::int64_t examples = segments(split, 0)[s].data.size();
    const std::int64_t size = std::min(batch_size, examples);
    const Key key = key_of(split, s, size);
    Recorded& recording = recorded(key);
    for (std::int64_t first = 0; first < examples; first += size) {
      const std::int64_t count = std::min(size, examples - first);
      recording.graph.forward(load(split, {s, first, count, size}));
      for (Index r = 0; r < replicas(); ++r) {
        SplitTally& tally = tallies[static_cast<std::size_t>(r)];
        tally.add_examples(recording.graph.value<float>(recording.out.correct).replica(r).data,
                           weights_.data() + r * size * key.labels, count, key.labels);
        tally.add_batch_loss(*recording.graph.value<float>(recording.out.loss).replica(r).data);
      }
    }
    for (Index r = 0; r < replicas(); ++r)
      tallies[static_cast<std::size_t>(r)].end_segment(segments(split, r)[s]);
  }
  std::vector<SplitMetrics> metrics;
  for (const SplitTally& tally : tallies)
    metrics.push_back(tally.metrics());
  return metrics;
}

}  // namespace recallbench
