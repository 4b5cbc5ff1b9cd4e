// Google Benchmark over every case with `flops`: forward, and forward with backward, in float, on
// the CPU or (--device cuda) a GPU, where --replicas fill it. "replay" is the time of one.
// FLOP/s counts the case's useful operations once forward and twice more backward. Beside the
// cases: Eigen's sgemm of a training step on the CPU, and the products of softmax attention.
// Usage: bench_kernels [--device cuda] [--precision tf32] [--replicas 4] [--benchmark_filter=...]
#include <benchmark/benchmark.h>

#include <CLI/CLI.hpp>

#include "kernels/bench/attention_products.h"
#include "kernels/cuda/runtime.h"
#include "kernels/graph/op_case.h"
#include "tests/support/run_case.h"

namespace recallbench {
namespace {

struct Arguments {
  testing::Placement placement;
  Index replicas = 1;

  bool on_gpu() const { return placement.device == Device::cuda; }
};

/// Times replay(), which computes `flops`. A GPU is waited for once in so many replays that the
/// waiting does not show.
template <class Replay>
void time_replays(benchmark::State& state, const Arguments& arguments, double flops,
                  const Replay& replay) {
  const int replays = arguments.on_gpu() ? 20 : 1;
  for (auto _ : state) {
    for (int i = 0; i < replays; ++i)
      replay();
    if constexpr (kCudaBuild)
      if (arguments.on_gpu()) cuda_synchronize();
  }
  using Counter = benchmark::Counter;
  state.counters["replay"] =
      Counter(replays, Counter::kIsIterationInvariantRate | Counter::kInvert);
  state.counters["FLOP/s"] = Counter(flops * replays, Counter::kIsIterationInvariantRate);
}

void time_case(benchmark::State& state, const Arguments& arguments, const OpCase& c,
               bool training) {
  testing::PreparedCase<float> prepared(c, testing::case_inputs(c, 1), training, arguments.replicas,
                                        arguments.placement);
  time_replays(state, arguments,
               c.flops * static_cast<double>(arguments.replicas) * (training ? 3 : 1),
               [&] { prepared.replay_alone(); });
}

void time_attention_products(benchmark::State& state, const Arguments& arguments, Index width,
                             bool training) {
  AttentionProducts products(arguments.placement.device, arguments.placement.precision,
                             64 * arguments.replicas, 256, width);
  time_replays(state, arguments, products.flops() * (training ? 3 : 1), [&] {
    products.forward();
    if (training) products.backward();
  });
}

/// The yardstick of a training step on the CPU: Eigen's sgemm 4096 x 64 x 64.
void time_sgemm(benchmark::State& state) {
  const Index rows = 4096, n = 64;
  std::vector<float> a(static_cast<std::size_t>(rows * n), 0.5f),
      b(static_cast<std::size_t>(n * n), 0.25f), c(a.size());
  time_replays(state, {}, 2.0 * static_cast<double>(rows * n * n), [&] {
    gemm<float>(Transpose::no, Transpose::no, 1.0f, Matrix<float>{a.data(), rows, n, n},
                Matrix<float>{b.data(), n, n, n}, false, Matrix<float>{c.data(), rows, n, n});
    benchmark::DoNotOptimize(c.data());
  });
}

/// `time`(state, training) as two benchmarks, forward and with backward.
template <class Time>
void register_both(const std::string& name, const Time& time) {
  for (const bool training : {false, true})
    benchmark::RegisterBenchmark((name + (training ? "/forward_backward" : "/forward")).c_str(),
                                 [time, training](benchmark::State& s) { time(s, training); })
        ->Unit(benchmark::kMicrosecond)
        ->UseRealTime();
}

void register_all(const Arguments& arguments) {
  if (!arguments.on_gpu()) benchmark::RegisterBenchmark("sgemm/4096x64x64", time_sgemm);
  for (const Index width : {64, 128})
    register_both(fmt::format("attention_products/B=64,L=256,D={}", width),
                  [=](benchmark::State& s, bool training) {
                    time_attention_products(s, arguments, width, training);
                  });
  for (const OpCase& c : all_op_cases())
    if (c.flops > 0)
      register_both(c.name, [=](benchmark::State& s, bool training) {
        time_case(s, arguments, c, training);
      });
}

}  // namespace
}  // namespace recallbench

int main(int argc, char** argv) {
  using namespace recallbench;
  benchmark::Initialize(&argc, argv);  // takes its own arguments out
  Arguments arguments;
  CLI::App app("Times of operations");
  app.add_option("--device", arguments.placement.device)
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Device>{{"cpu", Device::cpu}, {"cuda", Device::cuda}}));
  app.add_option("--precision", arguments.placement.precision)
      ->transform(CLI::CheckedTransformer(std::map<std::string, Precision>{
          {"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"bf16", Precision::bf16}}));
  app.add_option("--replicas", arguments.replicas)->check(CLI::Range(1, 64));
  CLI11_PARSE(app, argc, argv);
  if (arguments.on_gpu() && cuda_device_count() == 0) {
    fmt::print(stderr, "no GPU answers here\n");
    return 2;
  }
  register_all(arguments);
  benchmark::RunSpecifiedBenchmarks();
}
