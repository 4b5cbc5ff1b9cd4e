#include "sweeps/train/trainer.h"

#include <algorithm>

#include "kernels/adamw/adamw.h"

namespace recallbench {

Trainer::Trainer(const ModelConfig& model, std::uint64_t seed)
    : model_(model, DType::f32, 1), seed_(seed) {
  model_.parameters().initialise(0, seed);
}

Trainer::Recorded& Trainer::recorded(const Key& key) {
  std::unique_ptr<Recorded>& slot = graphs_[key];
  if (!slot) {
    slot = std::make_unique<Recorded>(Recorded{Graph(model_.parameters(), key.training), {}, {}});
    slot->out = model_.record_loss(slot->graph, key.examples, key.length, key.labels);
    slot->graph.finish(arena_);
    for (int id = 0; id < model_.parameters().count(); ++id)
      if (slot->graph.uses({id})) slot->updated.push_back({id});
  }
  return *slot;
}

Batch Trainer::load(const Dataset& data, std::int64_t first, std::int64_t count,
                    std::int64_t batch_size) {
  const std::int64_t length = data.shape().input_seq_len, labels = data.shape().labels_per_example;
  const auto resize = [](auto& vector, std::int64_t size) {
    if (static_cast<std::int64_t>(vector.size()) < size)
      vector.resize(static_cast<std::size_t>(size));
  };
  resize(tokens_, batch_size * length);
  for (auto* vector : {&positions_, &targets_})
    resize(*vector, batch_size * labels);
  resize(weights_, batch_size * labels);
  data.copy_batch(first, count, tokens_.data(), positions_.data(), targets_.data(),
                  weights_.data());
  // A short last batch is filled up with examples of weight 0.
  std::fill_n(tokens_.begin() + count * length, (batch_size - count) * length, 0);
  for (auto* vector : {&positions_, &targets_})
    std::fill_n(vector->begin() + count * labels, (batch_size - count) * labels, 0);
  std::fill_n(weights_.begin() + count * labels, (batch_size - count) * labels, 0.0f);
  return {batch_size,        length,          labels,          tokens_.data(),
          positions_.data(), targets_.data(), weights_.data(), static_cast<std::uint32_t>(steps_),
          {&seed_, 1}};
}

double Trainer::train_batch(const Dataset& data, std::int64_t first, std::int64_t count,
                            std::int64_t batch_size, double lr, double weight_decay) {
  Recorded& r =
      recorded({batch_size, data.shape().input_seq_len, data.shape().labels_per_example, true});
  r.graph.forward(load(data, first, count, batch_size));
  const double loss = *r.graph.value<float>(r.out.loss).data;
  r.graph.backward();
  adamw_step(model_.parameters(), r.updated, {&lr, 1}, {&weight_decay, 1}, ++steps_);
  return loss;
}

SplitMetrics Trainer::evaluate(const std::vector<RunSegment>& segments, std::int64_t batch_size) {
  SplitMetrics metrics;
  std::map<std::string, std::map<std::int64_t, std::pair<double, double>>> slices;
  double accuracy = 0, loss = 0, batches = 0;
  for (const RunSegment& segment : segments) {
    const Dataset& data = segment.data;
    const std::int64_t size = std::min(batch_size, data.size());
    const std::int64_t labels = data.shape().labels_per_example;
    Recorded& r = recorded({size, data.shape().input_seq_len, labels, false});
    double of_segment = 0;
    for (std::int64_t first = 0; first < data.size(); first += size) {
      const std::int64_t count = std::min(size, data.size() - first);
      r.graph.forward(load(data, first, count, size));
      const float* correct = r.graph.value<float>(r.out.correct).data;
      for (std::int64_t i = 0; i < count; ++i) {
        double right = 0, asked = 0;
        for (std::int64_t k = i * labels; k < (i + 1) * labels; ++k) {
          asked += weights_[static_cast<std::size_t>(k)];
          right += weights_[static_cast<std::size_t>(k)] * correct[k];
        }
        of_segment += right / asked;
      }
      loss += *r.graph.value<float>(r.out.loss).data;
      ++batches;
    }
    accuracy += of_segment;
    metrics.examples += data.size();
    metrics.labels += data.num_labels();
    for (const Slice& slice : segment.slices) {
      auto& [sum, examples] = slices[slice.key][slice.value];
      sum += of_segment;
      examples += static_cast<double>(data.size());
    }
  }
  metrics.accuracy = accuracy / static_cast<double>(metrics.examples);
  metrics.loss = loss / batches;
  for (const auto& [key, values] : slices)
    for (const auto& [value, sums] : values)
      metrics.slices[key][value] = sums.first / sums.second;
  return metrics;
}

}  // namespace recallbench
