// Generation of task data on one core: items are examples.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "kernels/base/options.h"
#include "tasks/dataset.h"
#include "tasks/task.h"

namespace recallbench {
namespace {

Options mqar_options(const benchmark::State& state) {
  const char* fillers[] = {"zero", "uniform", "no_collision"};
  return Options("task 'mqar'", {{"vocab_size", std::int64_t{8192}},
                                 {"input_seq_len", std::int64_t{state.range(0)}},
                                 {"num_kv_pairs", std::int64_t{state.range(1)}},
                                 {"filler", std::string(fillers[state.range(2)])}});
}

void mqar_settings(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"L", "n", "filler"});
  for (const auto& [length, pairs] :
       {std::pair{64, 4}, {128, 8}, {256, 64}, {512, 64}, {1024, 256}})
    bench->Args({length, pairs, 1});
  bench->Args({1024, 256, 0})->Args({1024, 256, 2})->Args({64, 4, 2});
}

void mqar_native(benchmark::State& state) {
  Options options = mqar_options(state);
  const std::unique_ptr<Task> task = builtin_tasks().find("mqar").make(options);
  constexpr std::int64_t kCount = 256;
  std::vector<std::int32_t> inputs(static_cast<std::size_t>(kCount * state.range(0)));
  std::vector<std::int32_t> labels(inputs.size());
  std::int64_t first = 0;
  for (auto _ : state) {
    task->generate(1, first, kCount, inputs.data(), labels.data());
    benchmark::DoNotOptimize(inputs.data());
    first += kCount;
  }
  state.SetItemsProcessed(state.iterations() * kCount);
}
BENCHMARK(mqar_native)->Apply(mqar_settings);

void mqar_dataset(benchmark::State& state) {
  Options options = mqar_options(state);
  const std::unique_ptr<Task> task = builtin_tasks().find("mqar").make(options);
  constexpr std::int64_t kCount = 2048;
  for (auto _ : state) {
    const Dataset data(*task, 1, kCount);
    benchmark::DoNotOptimize(data.size());
  }
  state.SetItemsProcessed(state.iterations() * kCount);
}
BENCHMARK(mqar_dataset)->ArgNames({"L", "n", "filler"})->Args({64, 4, 1})->Args({1024, 256, 1});

void mqar_compat(benchmark::State& state) {
  constexpr std::int64_t kCount = 256;
  std::mt19937 fillers(123);
  for (auto _ : state) {
    Options options = mqar_options(state);
    const SegmentData data =
        builtin_tasks().find("mqar").generate_compat(options, 1, fillers, kCount, {});
    benchmark::DoNotOptimize(data.inputs.data());
  }
  state.SetItemsProcessed(state.iterations() * kCount);
}
BENCHMARK(mqar_compat)->ArgNames({"L", "n", "filler"})->Args({64, 4, 1})->Args({1024, 256, 1});

}  // namespace
}  // namespace recallbench

BENCHMARK_MAIN();
