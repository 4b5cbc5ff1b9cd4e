#include "tests/sweeps/window_reach.h"

#include <vector>

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

}  // namespace recallbench
