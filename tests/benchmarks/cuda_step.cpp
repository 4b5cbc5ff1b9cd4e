// Time of a captured training step on a GPU, and of an evaluation batch, by model, batch shape,
// precision and number of replicas.
// Usage: bench_cuda_step [tf32|bf16|fp32] [replicas] [steps] [model ...]
#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "kernels/cuda/runtime.h"
#include "mixers/registry.h"
#include "sweeps/train/trainer.h"

namespace recallbench {
namespace {

constexpr Index kBatch = 256, kVocabulary = 8192;

struct Shape2 {
  Index length, pairs;
};
constexpr Shape2 kShapes[] = {{64, 4}, {128, 8}, {256, 16}, {256, 32}, {256, 64}};

struct NamedModel {
  std::string name;
  Index d_model;
  std::vector<LayerConfig> layers;
};

std::vector<NamedModel> models() {
  const LayerConfig conv{"base_conv", {{"kernel_size", std::int64_t{3}}}, ""};
  const auto based = [&](std::int64_t f) {
    return LayerConfig{"based",
                       {{"feature_dim", f},
                        {"num_heads", std::int64_t{1}},
                        {"num_key_value_heads", std::int64_t{1}}},
                       ""};
  };
  return {
      {"attention-128", 128, {conv, {"attention", {}, ""}}},
      {"based-64-16", 64, {conv, based(16)}},
      {"based-128-24", 128, {conv, based(24)}},
      {"window-128-64", 128, {conv, {"sliding_window", {{"block_size", std::int64_t{64}}}, ""}}},
      {"base_conv-128", 128, {conv, conv}},
      {"mamba-128", 128, {{"mamba", {}, ""}}},
  };
}

RunData data_of(const Shape2& shape, Index examples) {
  Options options("task 'mqar'", {{"vocab_size", kVocabulary},
                                  {"input_seq_len", shape.length},
                                  {"num_kv_pairs", shape.pairs}});
  const auto task = builtin_tasks().find("mqar").make(options);
  RunData data;
  data.train.push_back({Dataset(*task, 1, examples, 4), task->slices(), task->chance()});
  return data;
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Milliseconds a step: the best of three stretches.
double time_step(const NamedModel& named, const Shape2& shape, Precision precision, Index replicas,
                 Index steps, double& memory) {
  ModelConfig model;
  model.zoology = true;
  model.vocab_size = kVocabulary;
  model.d_model = named.d_model;
  model.block = mixer_registry().find(named.layers.back().mixer).block;
  model.layers = named.layers;
  const RunData data = data_of(shape, 16 * kBatch);
  const auto count = static_cast<std::size_t>(replicas);
  const auto trainer =
      Trainer::make(model, std::vector<std::uint64_t>(count, 1),
                    std::vector<const RunData*>(count, &data), {Device::cuda, precision});
  std::vector<BatchPlace> places;
  for (Index i = 0; i < steps; ++i)
    places.push_back({0, i % 16 * kBatch, kBatch, kBatch});
  const std::vector<double> lr(count, 1e-3), decay(count, 0.1);
  const auto run = [&](std::size_t n) {
    trainer->train(std::span(places).first(n), lr, decay,
                   [](std::span<const double>) { return true; });
  };
  run(std::min<std::size_t>(places.size(), 4));
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double start = seconds();
    run(places.size());
    best = std::min(best, (seconds() - start) / static_cast<double>(steps));
  }
  memory = static_cast<double>(trainer->arena_bytes()) / 0x1p20;
  return best * 1e3;
}

}  // namespace
}  // namespace recallbench

int main(int argc, char** argv) {
  using namespace recallbench;
  const std::string precision = argc > 1 ? argv[1] : "tf32";
  const Index replicas = argc > 2 ? std::atol(argv[2]) : 1,
              steps = argc > 3 ? std::atol(argv[3]) : 200;
  if (cuda_device_count() == 0) {
    fmt::print(stderr, "no GPU answers here\n");
    return 2;
  }
  fmt::print("{}, {} replica{}, batch {}, V {}: ms a step of all, arena MiB at the last\n",
             precision, replicas, replicas == 1 ? "" : "s", kBatch, kVocabulary);
  fmt::print("{:16}", "model");
  for (const auto& shape : kShapes)
    fmt::print("{:>9}", fmt::format("{}/{}", shape.length, shape.pairs));
  fmt::print("{:>9}\n", "MiB");
  for (const NamedModel& model : models()) {
    if (argc > 4 && std::none_of(argv + 4, argv + argc,
                                 [&](const char* wanted) { return model.name == wanted; }))
      continue;
    fmt::print("{:16}", model.name);
    double memory = 0;
    for (const auto& shape : kShapes) {
      const Precision p = precision == "fp32"   ? Precision::fp32
                          : precision == "bf16" ? Precision::bf16
                                                : Precision::tf32;
      fmt::print("{:9.3f}", time_step(model, shape, p, replicas, steps, memory));
      std::fflush(stdout);
    }
    fmt::print("{:9.0f}\n", memory);
  }
  return 0;
}
