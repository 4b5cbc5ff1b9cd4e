#include <algorithm>
#include <unordered_map>

#include "kernels/base/error.h"
#include "tasks/mqar/params.h"
#include "tasks/sampling/distinct.h"
#include "tasks/sampling/power_law.h"
#include "tasks/sampling/successive.h"
#include "tasks/sampling/word_stream.h"

namespace recallbench {
namespace {

class MqarTask final : public Task {
 public:
  explicit MqarTask(const MqarParams& params)
      : params_(params),
        count_(static_cast<std::uint32_t>(params.num_kv_pairs)),
        slots_(power_law_weights(params.slots(), params.power_a), count_) {}

  TaskShape shape() const override {
    return {params_.vocab_size, params_.input_seq_len, params_.num_kv_pairs};
  }
  std::vector<Slice> slices() const override {
    return {{"num_kv_pairs", params_.num_kv_pairs},
            {"input_seq_len", params_.input_seq_len},
            {"num_passes", params_.num_passes}};
  }
  double chance() const override { return 1.0 / static_cast<double>(params_.num_values()); }

  void generate(std::uint64_t seed, std::int64_t first, std::int64_t count, std::int32_t* inputs,
                std::int32_t* labels) const override;
  std::optional<std::vector<std::int32_t>> solve(
      std::span<const std::int32_t> inputs) const override;
  std::vector<Role> roles(std::span<const std::int32_t> inputs,
                          std::span<const std::int32_t> labels) const override;

 private:
  /// The samplers with their working memory: one set a call of generate.
  struct Samplers {
    DistinctSampler keys, values;
    SuccessiveSampler slots;
  };

  void write_example(WordStream& words, Samplers& samplers, std::int32_t* inputs,
                     std::int32_t* labels) const;
  void write_fillers(WordStream& words, const DistinctSampler& keys, std::int32_t* out,
                     std::int64_t count) const;

  MqarParams params_;
  std::uint32_t count_;
  SuccessiveSampler slots_;
};

void MqarTask::generate(std::uint64_t seed, std::int64_t first, std::int64_t count,
                        std::int32_t* inputs, std::int32_t* labels) const {
  check(first >= 0 && count >= 0, "mqar", "need first, count >= 0, came {}, {}", first, count);
  Samplers samplers{{static_cast<std::uint32_t>(params_.num_keys()), count_},
                    {static_cast<std::uint32_t>(params_.num_values()), count_},
                    slots_};
  for (std::int64_t i = 0; i < count; ++i) {
    const auto index = static_cast<std::uint64_t>(first + i);
    WordStream words(seed, Purpose::task_data, static_cast<std::uint32_t>(index),
                     static_cast<std::uint32_t>(index >> 32));
    const std::int64_t row = i * params_.input_seq_len;
    write_example(words, samplers, inputs + row, labels + row);
  }
}

void MqarTask::write_example(WordStream& words, Samplers& samplers, std::int32_t* inputs,
                             std::int32_t* labels) const {
  const auto keys = samplers.keys.draw(words);
  const auto values = samplers.values.draw(words);
  const auto slots = samplers.slots.draw(words);
  const auto first_value = static_cast<std::int32_t>(params_.first_value());
  for (std::size_t j = 0; j < keys.size(); ++j) {
    inputs[2 * j] = static_cast<std::int32_t>(keys[j]) + 1;
    inputs[2 * j + 1] = static_cast<std::int32_t>(values[j]) + first_value;
  }
  const std::int64_t pass = 2 * params_.num_kv_pairs;
  for (std::int64_t p = 1; p < params_.num_passes; ++p)
    std::copy_n(inputs, pass, inputs + p * pass);

  const std::int64_t context = params_.context();
  write_fillers(words, samplers.keys, inputs + context, params_.input_seq_len - context);
  std::fill_n(labels, params_.input_seq_len, kIgnoreLabel);
  for (std::size_t j = 0; j < keys.size(); ++j) {
    const std::int64_t t = context + 2 * std::int64_t{slots[j]};
    inputs[t] = inputs[2 * j];
    labels[t] = inputs[2 * j + 1];
  }
}

void MqarTask::write_fillers(WordStream& words, const DistinctSampler& keys, std::int32_t* out,
                             std::int64_t count) const {
  if (params_.filler == Filler::zero) {
    std::fill_n(out, count, 0);
    return;
  }
  const auto vocab_size = static_cast<std::uint32_t>(params_.vocab_size);
  words.fill_below(vocab_size, out, count);
  if (params_.filler == Filler::uniform) return;
  const auto num_keys = static_cast<std::int32_t>(params_.num_keys());
  const auto is_key = [&](std::int32_t token) {
    return token >= 1 && token <= num_keys && keys.contains(static_cast<std::uint32_t>(token - 1));
  };
  for (std::int64_t i = 0; i < count; ++i)
    while (is_key(out[i]))
      out[i] = static_cast<std::int32_t>(words.below(vocab_size));
}

std::optional<std::vector<std::int32_t>> MqarTask::solve(
    std::span<const std::int32_t> inputs) const {
  std::vector<std::int32_t> answers(inputs.size(), kIgnoreLabel);
  std::unordered_map<std::int32_t, std::int32_t> value_of;
  const auto pairs = static_cast<std::size_t>(2 * params_.num_kv_pairs);
  const auto context = static_cast<std::size_t>(params_.context());
  for (std::size_t t = 0; t + 1 < pairs; t += 2)
    value_of[inputs[t]] = inputs[t + 1];
  for (std::size_t t = context; t < inputs.size(); t += 2)
    if (const auto found = value_of.find(inputs[t]); found != value_of.end())
      answers[t] = found->second;
  return answers;
}

std::vector<Role> MqarTask::roles(std::span<const std::int32_t> inputs,
                                  std::span<const std::int32_t> labels) const {
  std::vector<Role> roles(inputs.size(), Role::filler);
  const auto context = static_cast<std::size_t>(params_.context());
  for (std::size_t t = 0; t < inputs.size(); ++t) {
    if (t < context)
      roles[t] = t % 2 == 0 ? Role::key : Role::value;
    else if (labels[t] != kIgnoreLabel)
      roles[t] = Role::query;
  }
  return roles;
}

}  // namespace

void register_mqar(TaskRegistry& registry) {
  TaskEntry entry;
  entry.summary = "multi-query associative recall: remember n key-value pairs, answer n queries";
  entry.make = [](Options& options) -> std::unique_ptr<Task> {
    return std::make_unique<MqarTask>(read_mqar_params(options));
  };
  entry.generate_compat = [](Options& options, std::uint32_t seed, std::mt19937& fillers,
                             std::int64_t num_examples, const StopRequested& stop) {
    return generate_mqar_compat(read_mqar_params(options), seed, fillers, num_examples, stop);
  };
  entry.compat_filler_words = [](Options& options, std::int64_t num_examples) {
    const MqarParams params = read_mqar_params(options);
    return params.filler == Filler::uniform ? num_examples * params.input_seq_len : 0;
  };
  registry.add("mqar", std::move(entry));
}

}  // namespace recallbench
