// Time of a captured training step on a GPU: one row a model of a recipe, one column a segment of
// its training data.
// Usage: bench_cuda_step RECIPE [--precision tf32] [--replicas 1] [--steps 200] [--models a,b]
//        [key=value ...]
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>

#include "kernels/cuda/runtime.h"
#include "sweeps/config/recipe.h"
#include "sweeps/store/labels.h"
#include "sweeps/train/population.h"
#include "sweeps/train/run_data.h"

namespace recallbench {
namespace {

struct Arguments {
  std::string recipe, precision = "tf32", models;
  std::vector<std::string> overrides;
  Index replicas = 1;
  int steps = 200;
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The segment's data: 16 batches, drawn natively, which is faster and of the same shape.
RunData data_of(const RunConfig& config, std::size_t segment) {
  RunConfig small = config;
  small.model.zoology = false;
  small.task.train = {config.task.train[segment]};
  small.task.train[0].num_examples = 16 * config.task.train_batch_size;
  small.task.test = small.task.train;
  small.task.test[0].num_examples = 1;
  small.task.valid = {};
  return make_run_data(small, 4);
}

/// Milliseconds a step of all replicas: the best of three stretches.
double time_step(const RunConfig& config, const RunData& data, const Arguments& arguments,
                 double& memory) {
  const auto count = static_cast<std::size_t>(arguments.replicas);
  const auto trainer = Trainer::make(config.model, std::vector<std::uint64_t>(count, 1),
                                     std::vector<const RunData*>(count, &data),
                                     {Device::cuda, precision_of(config)});
  trainer->initialise();
  const Index batch = config.task.train_batch_size;
  std::vector<BatchPlace> places;
  for (Index i = 0; i < arguments.steps; ++i)
    places.push_back({0, i % 16 * batch, batch, batch});
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
    best = std::min(best, (seconds() - start) / static_cast<double>(arguments.steps));
  }
  memory = static_cast<double>(trainer->arena_bytes()) / 0x1p20;
  return best * 1e3;
}

/// One run a model: those of the first value of everything that is no part of the model.
std::vector<RunConfig> distinct_models(const Recipe& recipe, const Arguments& arguments) {
  std::vector<RunConfig> models;
  std::string last;
  const std::string wanted = "," + arguments.models + ",";
  for (const RunConfig& run : recipe.runs) {
    if (!arguments.models.empty() && wanted.find("," + run.model_name + ",") == std::string::npos)
      continue;
    RunConfig alone = run;
    alone.train = {};
    alone.seed = 0;
    if (const std::string id = run_id(alone); id != last) {
      models.push_back(run);
      last = id;
    }
  }
  return models;
}

int bench(const Arguments& arguments) {
  std::vector<std::string> overrides = arguments.overrides;
  overrides.push_back("precision=" + arguments.precision);
  const Recipe recipe = load_recipe(arguments.recipe, overrides);
  const std::vector<RunConfig> models = distinct_models(recipe, arguments);
  if (models.empty()) fail(ErrorKind::usage, "bench_cuda_step", "the recipe has no such model");
  const std::vector<std::string> labels = make_labels(models).model;
  const TaskConfig& task = models[0].task;
  fmt::print("{}, {} replica{}, batch {}: ms a step of all; arena, MiB, of the last segment\n",
             arguments.precision, arguments.replicas, arguments.replicas == 1 ? "" : "s",
             task.train_batch_size);
  std::vector<RunData> data;
  fmt::print("{:36}", "model");
  for (std::size_t s = 0; s < task.train.size(); ++s) {
    data.push_back(data_of(models[0], s));
    const auto& shape = data[s].train[0].data.shape();
    fmt::print("{:>9}", fmt::format("{}/{}", shape.input_seq_len, shape.labels_per_example));
  }
  fmt::print("{:>9}\n", "MiB");
  for (std::size_t m = 0; m < models.size(); ++m) {
    fmt::print("{:36}", labels[m]);
    double memory = 0;
    for (const RunData& segment : data) {
      fmt::print("{:9.3f}", time_step(models[m], segment, arguments, memory));
      std::fflush(stdout);
    }
    fmt::print("{:9.0f}\n", memory);
  }
  return 0;
}

}  // namespace
}  // namespace recallbench

int main(int argc, char** argv) {
  using namespace recallbench;
  Arguments arguments;
  CLI::App app("Time of a captured training step on a GPU");
  app.add_option("recipe", arguments.recipe)->required();
  app.add_option("overrides", arguments.overrides);
  app.add_option("--precision", arguments.precision);
  app.add_option("--replicas", arguments.replicas)->check(CLI::Range(1, 64));
  app.add_option("--steps", arguments.steps)->check(CLI::Range(1, 100000));
  app.add_option("--models", arguments.models);
  CLI11_PARSE(app, argc, argv);
  if (cuda_device_count() == 0) {
    fmt::print(stderr, "no GPU answers here\n");
    return 2;
  }
  try {
    return bench(arguments);
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}
