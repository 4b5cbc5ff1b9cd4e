#include "sweeps/train/cuda/device_data.h"
#include "kernels/tensor/device_copy.h"

namespace recallbench {

DeviceData::DeviceData(const std::vector<const RunData*>& data) {
  for (const RunData* of_replica : data)
    for (const auto* split : {&of_replica->train, &of_replica->valid, &of_replica->test})
      for (const RunSegment& segment : *split)
        if (!places_.contains(&segment)) add(segment);
}

void DeviceData::add(const RunSegment& segment) {
  const Dataset& data = segment.data;
  Place& place = places_[&segment];
  place.length = data.shape().input_seq_len;
  place.labels = data.shape().labels_per_example;
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(data.size() * place.length));
  std::vector<std::int32_t> positions(static_cast<std::size_t>(data.size() * place.labels));
  std::vector<std::int32_t> targets(positions.size());
  std::vector<float> weights(positions.size());
  data.copy_batch(0, data.size(), tokens.data(), positions.data(), targets.data(), weights.data());
  const std::size_t token_bytes = align_up(tokens.size() * 4),
                    label_bytes = align_up(positions.size() * 4);
  place.memory.reserve(token_bytes + 3 * label_bytes);
  std::byte* to = place.memory.data();
  const auto put = [&](const auto& numbers, std::size_t bytes) {
    copy_to_device(Device::cuda, to, numbers.data(), numbers.size() * 4);
    return std::exchange(to, to + bytes);
  };
  place.begin.tokens = reinterpret_cast<const std::int32_t*>(put(tokens, token_bytes));
  place.begin.positions = reinterpret_cast<const std::int32_t*>(put(positions, label_bytes));
  place.begin.targets = reinterpret_cast<const std::int32_t*>(put(targets, label_bytes));
  place.begin.weights = reinterpret_cast<const float*>(put(weights, label_bytes));
}

PlannedBatch DeviceData::at(const RunSegment& segment, std::int64_t first,
                            std::int64_t count) const {
  const Place& place = places_.at(&segment);
  return {place.begin.tokens + first * place.length, place.begin.positions + first * place.labels,
          place.begin.targets + first * place.labels, place.begin.weights + first * place.labels,
          static_cast<std::int32_t>(count)};
}

}  // namespace recallbench
