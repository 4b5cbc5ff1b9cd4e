#include "sweeps/check/tiny_mqar.h"

#include <cmath>

#include "mixers/obligations/lone_mixer.h"
#include "sweeps/train/trainer.h"
#include "tasks/segment.h"

namespace recallbench {
namespace {

constexpr std::int64_t kSteps = 500, kBatch = 64, kExamples = kSteps * kBatch;
constexpr const char* kName = "tiny MQAR";
constexpr std::int64_t kVocabulary = 64, kWidth = 32;

RunSegment tiny_segment(Split split, std::int64_t examples) {
  Options options("task 'mqar'", {{"vocab_size", kVocabulary},
                                  {"input_seq_len", std::int64_t{32}},
                                  {"num_kv_pairs", std::int64_t{4}},
                                  {"filler", std::string("no_collision")}});
  const auto task = builtin_tasks().find("mqar").make(options);
  return {Dataset(*task, segment_seed(1, split, 0), examples, 1), task->slices(), task->chance()};
}

ModelConfig tiny_model(const std::string& name, const MixerEntry& entry, const Values& options,
                       bool zoology) {
  ModelConfig model;
  model.zoology = zoology;
  model.vocab_size = kVocabulary;
  model.d_model = kWidth;
  model.embed_dropout = 0;
  model.block = entry.block;
  if (entry.block == "transformer")
    model.layers.push_back({"base_conv", {{"kernel_size", std::int64_t{3}}}, ""});
  model.layers.push_back({name, options, ""});
  return model;
}

/// The first step before which the loss is not finite.
std::optional<std::int64_t> train(Trainer& trainer) {
  trainer.initialise();
  const double decay = 0.1;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const double lr = 1e-2 * (1 - static_cast<double>(step) / kSteps);
    const BatchPlace place{0, step * kBatch, kBatch, kBatch};
    bool finite = true;
    trainer.train({&place, 1}, {&lr, 1}, {&decay, 1}, [&](std::span<const double> losses) {
      for (const double loss : losses)
        finite = finite && std::isfinite(loss);
      return true;
    });
    if (!finite) return step;
  }
  return std::nullopt;
}

Obligation train_and_judge(Trainer& trainer, double chance) {
  if (const auto step = train(trainer))
    return {9,   kName, Obligation::Status::failed,
            0,   0,     fmt::format("the training loss is not finite at step {}", *step),
            true};
  const double accuracy = trainer.evaluate(Split::test, 250)[0].accuracy;
  const Traits traits = trainer.model().mixer(1).traits();
  const bool inside = accuracy >= traits.accuracy_low && accuracy <= traits.accuracy_high;
  return {9,
          kName,
          inside ? Obligation::Status::passed : Obligation::Status::failed,
          accuracy,
          traits.accuracy_high,
          fmt::format("accuracy {:.3f} after {} steps; its traits say [{}, {}]; chance {:.3f}",
                      accuracy, kSteps, traits.accuracy_low, traits.accuracy_high, chance),
          true};
}

}  // namespace

Obligation check_tiny_mqar(const std::string& name, const MixerEntry& entry, const Values& options,
                           bool zoology) {
  RunData data;
  data.train.push_back(tiny_segment(Split::train, kExamples));
  data.test.push_back(tiny_segment(Split::test, 1000));
  const auto trainer = Trainer::make(tiny_model(name, entry, options, zoology), {1}, {&data}, {});
  return try_obligation(9, kName, [&] { return train_and_judge(*trainer, data.train[0].chance); });
}

}  // namespace recallbench
