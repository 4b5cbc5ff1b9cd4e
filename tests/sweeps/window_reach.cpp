#include "tests/sweeps/window_reach.h"

#include <vector>

#include "sweeps/train/run_data.h"

namespace recallbench {

std::int64_t distance_to_key(std::span<const std::int32_t> tokens, std::int64_t query) {
  const std::int32_t key = tokens[static_cast<std::size_t>(query)];
  for (std::int64_t t = query - 1; t >= 0; --t)
    if (tokens[static_cast<std::size_t>(t)] == key) return query - t;
  return 0;
}

bool within_reach(std::int64_t distance, std::int64_t window, std::int64_t taps) {
  return distance - (taps - 1) < window;
}

double share_within_reach(const Dataset& data, std::int64_t window, std::int64_t taps) {
  const auto length = static_cast<std::size_t>(data.shape().input_seq_len);
  const auto queries = static_cast<std::size_t>(data.shape().labels_per_example);
  std::vector<std::int32_t> tokens(length), positions(queries), targets(queries);
  std::vector<float> weights(queries);
  double sum = 0;
  for (std::int64_t e = 0; e < data.size(); ++e) {
    data.copy_batch(e, 1, tokens.data(), positions.data(), targets.data(), weights.data());
    double asked = 0, reached = 0;
    for (std::size_t q = 0; q < queries; ++q) {
      if (weights[q] == 0) continue;
      ++asked;
      reached += within_reach(distance_to_key(tokens, positions[q]), window, taps);
    }
    sum += reached / asked;
  }
  return sum / static_cast<double>(data.size());
}

double share_within_reach_of(const RunConfig& run) {
  const std::vector<LayerConfig>& layers = run.model.layers;
  const auto window = std::get<std::int64_t>(layers.at(1).options.at("block_size"));
  const Value& kernels = layers.at(0).options.at("kernel_size");  // a list: one for each layer
  const std::int64_t taps = std::get<std::vector<std::int64_t>>(kernels).at(0);
  double sum = 0, examples = 0;
  for (const RunSegment& segment : make_run_data(run, 1).test) {
    const auto n = static_cast<double>(segment.data.size());
    sum += n * share_within_reach(segment.data, window, taps);
    examples += n;
  }
  return sum / examples;
}

}  // namespace recallbench
