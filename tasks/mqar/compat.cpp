#include <numeric>
#include <vector>

#include "kernels/base/error.h"
#include "tasks/mqar/params.h"
#include "tasks/sampling/mt19937_draws.h"
#include "tasks/sampling/power_law.h"

namespace recallbench {
namespace {

/// For each of N examples the first n of a permutation of the pool, plus `offset`: [N, n].
std::vector<std::int32_t> draw_tokens(std::mt19937& engine, std::int64_t pool, std::int64_t offset,
                                      std::int64_t n, std::int64_t num_examples,
                                      StopCheck& stop_check) {
  std::vector<std::int32_t> tokens;
  tokens.reserve(static_cast<std::size_t>(n * num_examples));
  std::vector<std::uint32_t> order(static_cast<std::size_t>(pool));
  for (std::int64_t e = 0; e < num_examples; ++e) {
    stop_check.drawn(pool);
    permutation(engine, order);
    for (std::int64_t j = 0; j < n; ++j)
      tokens.push_back(static_cast<std::int32_t>(order[static_cast<std::size_t>(j)] + offset));
  }
  return tokens;
}

std::vector<double> slot_probabilities(const MqarParams& params) {
  const std::vector<std::uint64_t> weights = power_law_weights(params.slots(), params.power_a);
  std::vector<double> probabilities(weights.begin(), weights.end());
  const double sum = std::accumulate(probabilities.begin(), probabilities.end(), 0.0);
  for (double& p : probabilities)
    p /= sum;
  return probabilities;
}

void check_reference_has_it(const MqarParams& params, std::int64_t num_examples) {
  if (params.num_passes != 1) {
    fail(ErrorKind::usage, "task 'mqar'",
         "num_passes must be 1 under compat, where the reference fails for more; came {}; take "
         "num_passes = 1 or leave compat out",
         params.num_passes);
  }
  if (params.filler == Filler::no_collision) {
    fail(ErrorKind::usage, "task 'mqar'",
         "filler must be zero or uniform under compat, came no_collision, which the reference does "
         "not have; take another filler or leave compat out");
  }
  if (num_examples < 0) {
    fail(ErrorKind::usage, "task 'mqar'", "num_examples must be at least 0, came {}; raise it",
         num_examples);
  }
}

}  // namespace

SegmentData generate_mqar_compat(const MqarParams& params, std::uint32_t seed,
                                 std::mt19937& fillers, std::int64_t num_examples,
                                 const StopRequested& stop) {
  check_reference_has_it(params, num_examples);
  const std::int64_t n = params.num_kv_pairs;
  StopCheck stop_check(stop);
  std::mt19937 engine(seed);
  const auto keys = draw_tokens(engine, params.num_keys(), 1, n, num_examples, stop_check);
  const auto values =
      draw_tokens(engine, params.num_values(), params.first_value(), n, num_examples, stop_check);
  const std::vector<double> probabilities = slot_probabilities(params);

  SegmentData data;
  const auto cells = static_cast<std::size_t>(num_examples * params.input_seq_len);
  data.inputs.assign(cells, 0);
  data.labels.assign(cells, kIgnoreLabel);
  for (std::int64_t e = 0; e < num_examples; ++e) {
    stop_check.drawn(params.slots() + n);
    const auto slots = weighted_choice(engine, probabilities, static_cast<std::size_t>(n));
    std::int32_t* inputs = data.inputs.data() + e * params.input_seq_len;
    std::int32_t* labels = data.labels.data() + e * params.input_seq_len;
    for (std::int64_t j = 0; j < n; ++j) {
      const std::int32_t key = keys[static_cast<std::size_t>(e * n + j)];
      const std::int32_t value = values[static_cast<std::size_t>(e * n + j)];
      const std::int64_t t =
          params.context() + 2 * std::int64_t{slots[static_cast<std::size_t>(j)]};
      inputs[2 * j] = inputs[t] = key;
      inputs[2 * j + 1] = labels[t] = value;
    }
  }
  if (params.filler == Filler::uniform) {
    const auto vocab_size = static_cast<std::uint32_t>(params.vocab_size);
    for (std::int32_t& token : data.inputs) {
      stop_check.drawn(1);
      const auto word = static_cast<std::uint32_t>(fillers());
      if (token == 0) token = static_cast<std::int32_t>(word % vocab_size);
    }
  }
  return data;
}

}  // namespace recallbench
